"""The verbs under one command, and the one place where errors become one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from dqt._version import __version__
from dqt.cli import bench, demo, doctor, evaluate, export, inspect, lower, pack, report, run, search, train, upgrade
from dqt.cli.errors import StopError, describe, stoppable

VERBS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "demo": (demo.demo, ("dqt demo",)),
    "doctor": (
        doctor.doctor,
        ("dqt doctor recipe.toml", "dqt doctor dqt.train.models:digits_cnn digits --widths 2,4,8 --samples 64"),
    ),
    "train": (train.train, ("dqt train recipe.toml --run runs/mine", "dqt train recipe.toml --run runs/mine --resume")),
    "lower": (lower.lower, ("dqt lower runs/mine -o net.dqt",)),
    "eval": (
        evaluate.evaluate,
        ("dqt eval net.dqt digits", "dqt eval net.dqt digits --bits 8,4,2 --auto --plan cascade.json --out runs/mine"),
    ),
    "run": (run.run, ("dqt run net.dqt images --bits 4", "dqt run net.dqt x.npy --plan cascade.json -o y.npy")),
    "inspect": (inspect.inspect, ("dqt inspect net.dqt",)),
    "bench": (bench.bench, ("dqt bench net.dqt", "dqt bench net.dqt --bits 8,auto --batch 1,8 --seconds 0.2")),
    "search": (
        search.search,
        (
            "dqt search runs/mine --bitops 0.25 -o plan.json",
            "dqt search runs/mine --cascade 2,4,8 --bitops 0.6 -o cascade.json",
        ),
    ),
    "export onnx": (
        export.onnx,
        ("dqt export onnx net.dqt --bits 4 -o net4.onnx", "dqt export onnx net.dqt --form qdq"),
    ),
    "export c": (export.c, ("dqt export c net.dqt -o net-c",)),
    "pack": (
        pack.pack,
        ("dqt pack net.dqt --width 4", "dqt pack net.dqt --width 4 -o net4.dqt --delta delta-4-8.dqt"),
    ),
    "upgrade": (upgrade.upgrade, ("dqt upgrade net4.dqt delta-4-8.dqt",)),
    "report": (report.report, ("dqt report runs/mine -o page.html",)),
}
"""Verb, or group and verb -> its function and the examples that its help shows."""
GROUPS = {"export": "A program in the form of another tool."}

app = typer.Typer(
    help="Networks that hold every bit width in one integer program: train, lower, run, report.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    context.obj = debug  # main has acted on it before this parser saw it
    if version:
        typer.echo(f"dqt {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _epilog(examples: Sequence[str]) -> str:
    return "\n\n".join(f"Example: {line}" for line in examples)


_groups = {name: typer.Typer(help=text, rich_markup_mode="rich") for name, text in GROUPS.items()}
for _name, (_function, _examples) in VERBS.items():
    _group, _, _verb = _name.rpartition(" ")
    (_groups[_group] if _group else app).command(_verb, epilog=_epilog(_examples))(stoppable(_function))
for _name, _made in _groups.items():
    app.add_typer(_made, name=_name)


def main(arguments: Sequence[str] | None = None, *, stopped: Callable[[], bool] = lambda: False) -> int:
    """Run the command line; what went wrong is one or two lines on standard error, never a traceback.

    Args:
        arguments: without the program's name; default ``sys.argv``.
        stopped: whether the user has interrupted it: an import that is interrupted may raise anything.

    Returns:
        the exit code: 0; 1 for input that cannot be; 2 for a command that cannot be; 3 for a defect of dqt itself; 4
        where the work is done, but an engine gave other integers than the interpreter; 130 when interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        result = app([word for word in given if word != "--debug"], prog_name="dqt", standalone_mode=False)
        if stopped():  # outside of a verb, while it parses: typer then returns an exit code
            raise StopError("interrupted")
        return result if isinstance(result, int) else 0
    except Exception as error:
        if debug:
            raise
        kept = isinstance(error, StopError) or not stopped()
        message, code = describe(error if kept else StopError("interrupted"))
        if message:
            print(message, file=sys.stderr)
        return code
