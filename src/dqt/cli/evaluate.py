"""``dqt eval``: accuracy by width, plan and "auto", beside BitOPs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqt.cli.inputs import EngineName, EngineOption, engine_of, widths_of
from dqt.cli.output import Json, PlanFiles, ProgramFile, emit, progress, table

if TYPE_CHECKING:
    from dqt.arith.plan import Plan, PlanLike
    from dqt.cli.labelled import Labelled
    from dqt.program.evaluate import Engine
    from dqt.program.program import Program
    from dqt.report.results import Kind, Results

    Task = tuple[str, Kind, PlanLike, int | None]


def evaluate(
    net: ProgramFile,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="digits, or cifar10=PATH, fashion-mnist=PATH, npz=FILE, folder=PATH.")
    ],
    bits: Annotated[str | None, typer.Option("--bits", help="Uniform widths, such as 8,4,2. Default: all.")] = None,
    plan: PlanFiles = None,
    auto: Annotated[bool, typer.Option("--auto", help="The controller's choice.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N test samples.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="RUN", help="Folder that gets results.json for dqt report.")
    ] = None,
    engine: EngineOption = EngineName.NATIVE,
    as_json: Json = False,
) -> None:
    """Top-1 accuracy of the integer program on the test part of a data set. Without choices: all widths, and auto."""
    from dqt.arith.plan import resolve
    from dqt.cli.labelled import labelled_samples
    from dqt.program.program import Program
    from dqt.report import save_results

    program = Program.load(net)
    tasks = _tasks(program, bits, plan or [], auto)
    for _, _, one, _ in tasks:
        resolve(program.space, one)
    test = labelled_samples(program, data, limit)
    results = _run(program, test, tasks, net, engine_of(program, engine))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        save_results(results, out)
    emit(results.model_dump(mode="json", exclude_none=True), as_json, lambda: show(results))
    if out is not None and not as_json:
        typer.echo(f"{out / 'results.json'}\nnext: dqt report {out}")


def show(results: Results) -> None:
    """The main table of the results."""
    from dqt.report.tables import ROW_HEAD, facts, row_cells

    trained = any(row.accuracy_trained is not None for row in results.rows)
    kept = [i for i, head in enumerate(ROW_HEAD) if trained or head not in ("accuracy trained", "agreement")]
    rows = [row_cells(results, row) for row in results.rows]
    table([ROW_HEAD[i] for i in kept], [[row[i] for i in kept] for row in rows])
    typer.echo(facts(results))


def _tasks(program: Program, bits: str | None, plans: list[Path], auto: bool) -> list[Task]:
    """What to run: label, kind, plan, width."""
    from dqt.arith.plan import AUTO, Cascade, load_plan

    everything = bits is None and not plans and not auto
    widths = list(reversed(program.space.widths)) if everything else widths_of(bits) if bits else []
    tasks: list[Task] = [(f"{b} bits", "uniform", b, b) for b in dict.fromkeys(widths)]
    for path in dict.fromkeys(plans):
        held = load_plan(path)
        kind: Kind = "cascade" if isinstance(held, Cascade) else "plan"
        tasks.append((f"{kind} {path}", kind, held, None))
    if auto or (everything and program.space.choices):
        tasks.append((AUTO, "auto", AUTO, None))
    return tasks


def _run(program: Program, test: Labelled, tasks: list[Task], net: Path, engine: Engine | None) -> Results:
    from dqt.arith.plan import AUTO, resolve
    from dqt.program import evaluate as room
    from dqt.report.collect import auto_of, results_of, row_of

    labels = test.labels
    rows, chosen = [], None
    with progress("evaluating", len(tasks) * len(labels)) as advance:
        for label, kind, plan, width in tasks:
            found = room.evaluate(program, test.inputs, plan, advance=advance, engine=engine)
            fixed: Any = resolve(program.space, plan)
            static: Plan | None = None if kind in ("auto", "cascade") else fixed
            rows.append(row_of(program, label, kind, found, labels, bits=width, plan=static))
            if plan == AUTO:
                chosen = auto_of(program, found, labels, test.images)
    return results_of(
        program, rows, name=net.stem, data=test.words, samples=len(labels), model_bytes=net.stat().st_size, auto=chosen
    )
