"""What verbs share: their common options, tables for people, JSON for machines, progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Write JSON, and nothing else, to standard output.")]
ProgramFile = Annotated[Path, typer.Argument(metavar="NET.dqt", help="An integer program, made by dqt lower.")]
CheckpointFile = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of dqt train, or the folder of its run.")
]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", metavar="DIR", help="Where a relative path of the data begins.")
]
PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="A plan or a cascade, from dqt search.")]
PlanFiles = Annotated[
    list[Path] | None,
    typer.Option("--plan", metavar="FILE", help="A plan or a cascade, from dqt search; may be repeated."),
]


def written(what: str, words: str, *names: str) -> Any:
    """The option that says where a result goes, ``--out`` unless it has other ``names``; ``what``: a file's name."""
    return typer.Option(*(names or ("--out", "-o")), readable=False, metavar=what, help=words)


STDOUT = frozenset({"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})
RED = "bold red"
PIPE_COLUMNS = 140
"""How wide a table may be where no terminal says it."""


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """The console for people."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else PIPE_COLUMNS, highlight=False, quiet=quiet)


def emit(data: Any, as_json: bool, human: Callable[[], object], *, out: Path | None = None) -> None:
    """Print ``data`` as JSON, or call what prints it for people.

    Where the result itself, ``out``, went to standard output, words go to standard error: they would spoil it.
    """
    spoken_for = out is not None and str(out) in STDOUT
    try:
        with redirect_stdout(sys.stderr) if spoken_for else nullcontext():
            if as_json:
                typer.echo(json.dumps(data, indent=1, allow_nan=False))
            else:
                human()
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def alarm(text: str) -> None:
    """Say on standard error, in red where there are colours, what must not be overlooked."""
    console(stderr=True).print(text, style=RED, markup=False, soft_wrap=True)


def table(heads: Sequence[str], rows: Iterable[Sequence[str | Text]], *, left: int = 1) -> None:
    """Print a table whose first ``left`` columns are text and whose others are numbers; cells may have a style."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, head in enumerate(heads):
        shown.add_column(head, justify="left" if i < left else "right", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console().print(shown)


@contextmanager
def progress(words: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block runs, if that is a terminal; gives the function that moves it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    where = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=where, transient=True, disable=not where.is_terminal) as shown:
        task = shown.add_task(words, total=total)
        yield lambda count: shown.advance(task, count)
