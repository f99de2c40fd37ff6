"""``dqt report``: one self-contained HTML page and Markdown tables of a run's recorded results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dqt.cli.evaluate import stop_if_different
from dqt.cli.output import STDOUT, Json, emit


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder with results.json, or such a file.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", readable=False, metavar="PAGE.html", help="Default: report.html beside the results."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Of the page. Default: the program's name.")] = None,
    as_json: Json = False,
) -> None:
    """Accuracy against BitOPs, widths by layer and by sample: a page, and Markdown tables beside it.

    The exit code is 4 where the results say that an engine gave other integers than the interpreter defines.
    """
    from dqt.arith.files import write_file
    from dqt.report import load_results, markdown, write_page

    results = load_results(run)
    if title is not None:
        results = results.model_copy(update={"name": title})
    page = out or (run if run.is_dir() else run.parent) / "report.html"
    tables = page.with_suffix(".md")
    if tables == page:
        raise typer.BadParameter(f"{page} is where the tables go: name the page with .html")
    written = {"page": str(page)}
    write_page(results, page)
    if str(page) not in STDOUT and page.is_file():  # beside a pipe or a device nothing else belongs
        write_file(tables, markdown(results))
        written["markdown"] = str(tables)
    emit(written, as_json, lambda: typer.echo("\n".join(written.values())), out=page)
    stop_if_different(results)
