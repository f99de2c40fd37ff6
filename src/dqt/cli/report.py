"""``dqt report``: one self-contained HTML page and Markdown tables of a run's recorded results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dqt.cli.evaluate import stop_if_different
from dqt.cli.output import Json, emit


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder with results.json, or such a file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PAGE.html", help="Default: report.html beside the results.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Accuracy against BitOPs, widths by layer and by sample: a page, and Markdown tables beside it.

    The exit code is 4 where the results say that an engine gave other integers than the interpreter defines.
    """
    from dqt.arith.files import write_file
    from dqt.report import load_results, markdown, write_page

    results = load_results(run)
    page = out or (run if run.is_dir() else run.parent) / "report.html"
    tables = page.with_suffix(".md")
    if tables == page:
        raise typer.BadParameter(f"{page} is where the tables go: name the page with .html")
    write_page(results, page)
    write_file(tables, markdown(results))
    emit({"page": str(page), "markdown": str(tables)}, as_json, lambda: typer.echo(f"{page}\n{tables}"))
    stop_if_different(results)
