"""``dqt eval``: accuracy by width, plan and "auto", beside BitOPs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from dqt.cli.errors import DIFFERS
from dqt.cli.inputs import EngineName, EngineOption, TaskOption, engine_of, plan_in, size_of, widths_of
from dqt.cli.output import RED, Json, PlanFiles, ProgramFile, alarm, emit, progress, table, written

if TYPE_CHECKING:
    from dqt.arith.plan import Plan, PlanLike
    from dqt.cli.labelled import Labelled
    from dqt.program.evaluate import Engine
    from dqt.program.program import Program
    from dqt.program.task import Task
    from dqt.report.results import Kind, Results

    Way = tuple[str, Kind, PlanLike, int | None]


Timed = Annotated[bool, typer.Option("--time", help="Time one sample of each run, too, on one thread.")]
Check = Annotated[
    int, typer.Option("--check", min=0, help="Samples of each run that are compared with the interpreter.")
]


def evaluate(
    net: ProgramFile,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="digits, or cifar10=PATH, fashion-mnist=PATH, npz=FILE, folder=PATH, imagefolder=PATH."
        ),
    ],
    bits: Annotated[str | None, typer.Option("--bits", help="Uniform widths, such as 8,4,2. Default: all.")] = None,
    plan: PlanFiles = None,
    auto: Annotated[bool, typer.Option("--auto", help="The controller's choice.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N test samples.")] = None,
    check: Check = 64,
    out: Annotated[Path | None, written("RUN", "Folder that gets results.json for dqt report.")] = None,
    engine: EngineOption = EngineName.NATIVE,
    task: TaskOption = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="For imagefolder=PATH; default: one for each core.")
    ] = None,
    time: Timed = False,
    as_json: Json = False,
) -> None:
    """Top-1 accuracy, or another task's metric, of the program on test data. Without choices: all widths, and auto.

    In every run the native engine's integers are compared with those of the interpreter on a sample of the inputs.
    Should they differ, the table says so in red and the exit code is 4.

    Your own data: npz=FILE holds samples x (or images) and labels y (or labels), or x_test and y_test; folder=PATH
    holds one folder of images for each class. Samples of uint8 are pixels, other numbers what the model takes.
    imagefolder=PATH reads pictures of any size one by one, in several processes; with --out it goes on where it
    stopped.
    """
    from dqt.arith.plan import resolve
    from dqt.program.evaluate import task_of_program
    from dqt.program.named import named_task
    from dqt.program.program import Program
    from dqt.report import save_results

    program = Program.load(net)
    ways = _ways(program, bits, plan or [], auto)
    for _, _, one, _ in ways:
        resolve(program.space, one)
    judge = task_of_program(program, None if task is None else named_task(task, "--task"))
    if out is not None:
        _make_folder(out)
    asked = _Asked(task, limit, check, engine, processes, out, time)
    results = _results(program, net, data, ways, judge, asked)
    try:
        emit(results.model_dump(mode="json", exclude_none=True), as_json, lambda: show(results))
    finally:  # neither a full disk nor a closed pipe costs the work: it is shown, and it is saved
        if out is not None:
            save_results(results, out)
    if out is not None and not as_json:
        typer.echo(f"{out / 'results.json'}\nnext: dqt report {out}")
    stop_if_different(results)


class _Asked(NamedTuple):
    """Options that say how to run."""

    task: str | None
    limit: int | None
    check: int
    engine: EngineName
    processes: int | None
    out: Path | None
    time: bool


def _results(program: Program, net: Path, data: str, ways: list[Way], judge: Task, asked: _Asked) -> Results:
    """Of samples in memory, or of pictures that are read one by one."""
    from dqt.arith.errors import InputError

    task, limit, check, engine, processes, out, time = asked
    if time and engine != EngineName.NATIVE:
        raise InputError("--time: the native engine is timed, so leave out --engine interpret")
    if data.startswith("imagefolder="):
        if time:
            raise InputError("--time: not with imagefolder=PATH, whose pictures are read one by one: use dqt bench")
        from dqt.cli.pictures import run_pictures

        return run_pictures(
            program, net, data, ways, judge,
            given=task or judge.spec, limit=limit, check=check, engine=engine, processes=processes, out=out,
        )  # fmt: skip
    from dqt.cli.labelled import labelled_samples

    if processes is not None:
        raise InputError("--processes: only pictures of imagefolder=PATH are read by several processes")
    test = labelled_samples(program, data, limit, judge)
    results = _run(program, test, ways, judge, net, engine_of(program, engine), check)
    return _timed(program, test, ways, results) if time else results


def _timed(program: Program, test: Labelled, ways: list[Way], results: Results) -> Results:
    """The results with the time of each row."""
    from dqt.report.collect import timed
    from dqt.runtime.timing import ROUNDS
    from dqt.runtime.timing import timed as room

    with progress("timing", len(ways) * ROUNDS) as advance:
        found, words = room(program, {label: plan for label, _, plan, _ in ways}, test.inputs, advance=advance)
    return timed(results, {label: (each.median, each.p10, each.p90) for label, each in found.items()}, words)


def _make_folder(path: Path) -> None:
    """Make the folder before the work, which would be lost.

    Raises:
        OSError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(error.errno, "is a file, or lies below one: give a folder", str(path)) from None


def show(results: Results) -> None:
    """The main table of the results."""
    from rich.text import Text

    from dqt.report.tables import AGREEMENT, COMPARISON, TRAINED, columns, facts, row_cells, row_head, verdict

    trained = any(row.trained is not None for row in results.rows)
    kept = [i for i in columns(results) if trained or i not in (TRAINED, AGREEMENT)]
    heads = row_head(results)
    rows: list[list[str | Text]] = []
    for row in results.rows:
        cells: list[str | Text] = [*row_cells(results, row)]
        if row.differs:
            cells[COMPARISON] = Text(str(cells[COMPARISON]), style=RED)
        rows.append([cells[i] for i in kept])
    table([heads[i] for i in kept], rows)
    typer.echo(facts(results))
    if verdict(results) and not any(row.differs for row in results.rows):
        typer.echo(verdict(results))


def stop_if_different(results: Results) -> None:
    """End with an exit code of its own, after all work, where served integers are not the defined ones."""
    from dqt.report.tables import verdict

    if any(row.differs for row in results.rows):
        alarm(f"dqt: {verdict(results)}")
        raise typer.Exit(DIFFERS)


def _ways(program: Program, bits: str | None, plans: list[Path], auto: bool) -> list[Way]:
    """What to run: label, kind, plan, width."""
    from dqt.arith.cascade import Cascade
    from dqt.arith.plan import AUTO

    everything = bits is None and not plans and not auto
    widths = list(reversed(program.space.held)) if everything else widths_of(bits) if bits else []
    ways: list[Way] = [(f"{b} bits", "uniform", b, b) for b in dict.fromkeys(widths)]
    for path in dict.fromkeys(plans):
        held = plan_in(program.space, path)
        kind: Kind = "cascade" if isinstance(held, Cascade) else "plan"
        ways.append((f"{kind} {path}", kind, held, None))
    if auto or (everything and program.space.automatic):
        ways.append((AUTO, "auto", AUTO, None))
    return ways


def _run(
    program: Program, test: Labelled, ways: list[Way], task: Task, net: Path, engine: Engine | None, check: int
) -> Results:
    from dqt.arith.plan import AUTO, resolve
    from dqt.program import evaluate as room
    from dqt.report.collect import auto_of, metric_of, results_of, row_of

    labels = test.targets
    rows, chosen = [], None
    compared = min(check, len(labels)) if engine else 0
    with progress("evaluating", len(ways) * (len(labels) + compared)) as advance:
        for label, kind, plan, width in ways:
            found = room.evaluate(program, test.inputs, plan, advance=advance, engine=engine, task=task)
            served = None
            if compared:
                served = room.as_defined(program, test.inputs, plan, found, compared, advance=advance)
            fixed: Any = resolve(program.space, plan)
            static: Plan | None = None if kind in ("auto", "cascade") else fixed
            rows.append(row_of(program, label, kind, found, labels, bits=width, plan=static, served=served))
            if plan == AUTO:
                chosen = auto_of(program, found, labels, test.images)
    return results_of(
        program, rows, name=net.stem, data=test.words, samples=len(labels), model_bytes=size_of(program, net),
        auto=chosen, engine="native" if engine else "interpret", metric=metric_of(task),
    )  # fmt: skip
