"""``dqt report``: one self-contained HTML page and Markdown tables of a run's recorded results, or of two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dqt.cli.evaluate import stop_if_different
from dqt.cli.output import STDOUT, Json, emit, written

if TYPE_CHECKING:
    from dqt.report.results import Results


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder with results.json, or such a file.")],
    other: Annotated[Path | None, typer.Argument(metavar="[OTHER]", help="Another run, to compare with.")] = None,
    out: Annotated[Path | None, written("PAGE.html", "Default: report.html beside the results.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="Of the page. Default: the program's name.")] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FOLDER", help="Pictures for papers, into this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Accuracy against BitOPs, time and bytes, widths by layer and by sample: a page, and Markdown tables beside it.

    With OTHER, both runs are on one page, and a table says what the runs of one name reach and cost in each.

    The exit code is 4 where the results say that an engine gave other integers than the interpreter defines.
    """
    from dqt.arith.files import write_file
    from dqt.report import load_results, write_page

    results = load_results(run)
    if title is not None:
        results = results.model_copy(update={"name": title})
    second = None if other is None else load_results(other)
    if other is not None and second is not None:
        results, second = _named_apart(results, run, second, other)
    page = out or (run if run.is_dir() else run.parent) / ("report.html" if second is None else "compare.html")
    tables = page.with_suffix(".md")
    if tables == page:
        raise typer.BadParameter(f"{page} is where the tables go: name the page with .html")
    written: dict[str, str | list[str]] = {"page": str(page)}
    write_page(results, page, second)
    if str(page) not in STDOUT and page.is_file():  # beside a pipe or a device nothing else belongs
        write_file(tables, _tables(results, second))
        written["markdown"] = str(tables)
    if png is not None:
        from dqt.report.plots import save_pictures

        written["pictures"] = [str(path) for path in save_pictures(results, png, second)]
    emit(written, as_json, lambda: typer.echo("\n".join(_lines(written))), out=page)
    for each in filter(None, (results, second)):
        stop_if_different(each)


def _named_apart(first: Results, run: Path, second: Results, other: Path) -> tuple[Results, Results]:
    """Two runs of one name are told apart by where they are."""
    if first.name != second.name:
        return first, second
    one, two = (each.model_copy(update={"name": str(path)}) for each, path in ((first, run), (second, other)))
    return one, two


def _tables(results: Results, second: Results | None) -> str:
    from dqt.report import compare, markdown

    if second is None:
        return markdown(results)
    return markdown(results, (compare.head(results, second), compare.lines(results, second)))


def _lines(written: dict[str, str | list[str]]) -> list[str]:
    """The paths, one a line."""
    return [path for each in written.values() for path in ([each] if isinstance(each, str) else each)]
