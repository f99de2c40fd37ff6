"""``dqt demo``: the whole road on a small real network, from training to integer inference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqt.cli.errors import DIFFERS
from dqt.cli.evaluate import show, stop_if_different
from dqt.cli.inputs import EngineName, engine_of
from dqt.cli.output import Json, alarm, console, emit, written
from dqt.cli.train import find_recipe, native_judge

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dqt.arith.plan import Plan, PlanLike
    from dqt.nn.net import Net
    from dqt.program.evaluate import Engine, Evaluation
    from dqt.program.program import Program
    from dqt.report.results import Kind, Results, Row
    from dqt.train.data import Splits

SEARCH_WIDTH = 3
"""The searched plan may cost what this uniform width costs."""
MEASURED = 1024
CASCADE = "cascade.json"


def demo(
    out: Annotated[Path, written("DIR", "Where everything goes.")] = Path("demo"),
    recipe: Annotated[str, typer.Option("--recipe", metavar="CONFIG", help="Another run file.")] = "digits",
    as_json: Json = False,
) -> None:
    """Train a small network on handwritten digits, and a controller for it; lower it, and run the test set in integers.

    Real data that ships with scikit-learn: no download. A minute or two on two cores. Where a run file
    ``NAME-controller.toml`` lies beside that of the network, its controller is taught after the network, on the
    held-out samples. The exit code is 4 where the integers of the native engine, or the exact ones of torch, are not
    those of the interpreter.
    """
    from dqt.train.lock import locked

    began = time.monotonic()
    say = console(stderr=True, quiet=as_json).print
    with locked(out), _one_thread():
        road = _train(out, recipe, quiet=as_json, say=say)
        _lower(road, say)
        _plan(road, say)
        say("running the test samples through the integer program")
        results = _evaluate(road)
    written = _write(road, results)
    seconds = time.monotonic() - began
    data = results.model_dump(mode="json", exclude_none=True)
    summary = {
        "results": data,
        "exact_equals_interpret": road.exact,
        "uniform_at_auto_share": road.uniform_at_auto,
        "files": {name: str(path) for name, path in written.items()},
        "seconds": round(seconds, 1),
    }
    emit(summary, as_json, lambda: _show(road, results, written, seconds))
    stop_if_different(results)
    if not all(road.exact.values()):
        raise typer.Exit(DIFFERS)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread: with images of 8x8 a second one waits more than it works, and long where a core is busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Road:
    """What the steps of the demo hand on."""

    out: Path
    name: str
    net: Net
    splits: Splits
    program: Program = field(init=False)
    engine: Engine | None = field(init=False)
    plan: Plan = field(init=False)
    bytes: int = 0
    exact: dict[str, bool] = field(default_factory=dict)
    uniform_at_auto: float | None = None

    @property
    def file(self) -> Path:
        return self.out / f"{self.name}.dqt"

    @property
    def cascade(self) -> Path:
        return self.out / CASCADE


def _train(out: Path, recipe: str, *, quiet: bool, say: Callable[[str], object]) -> _Road:
    from dqt.train.build import load_data, network
    from dqt.train.checkpoint import BEST, LAST
    from dqt.train.fit import fit
    from dqt.train.lock import locked
    from dqt.train.processes import keep_freed_memory
    from dqt.train.recipe import load_run

    keep_freed_memory()
    path = find_recipe(recipe)
    run = load_run(path)
    splits = load_data(run)
    net = network(run, splits.train.shape)
    say(f"training on {len(splits.train):,} of {splits.train.name}: all widths at once, with {path}")
    folder = out / "run"
    with locked(folder):
        for old in (folder / LAST, folder / BEST, out / CASCADE):
            old.unlink(missing_ok=True)  # a demo begins anew
        fit(net, splits.train, splits.valid, run=run, run_dir=folder, progress=not quiet)
    road = _Road(out, path.stem, net, splits)
    controller = path.with_name(f"{path.stem}-controller.toml")
    if controller.exists():
        say(f"teaching a controller on the held-out samples, with {controller}")
        _teach(road, controller, quiet=quiet)
    return road


def _teach(road: _Road, path: Path, *, quiet: bool) -> None:
    """Give the trained network the controller of another run file."""
    from dqt.train.build import network
    from dqt.train.checkpoint import BEST, LAST
    from dqt.train.gains import fit_controller
    from dqt.train.recipe import load_run

    folder, splits, run = road.out / "run", road.splits, load_run(path)
    trained = folder / BEST if (folder / BEST).exists() else folder / LAST
    model = run.model.model_copy(update={"checkpoint": str(trained)})
    road.net = network(run.model_copy(update={"model": model}), splits.train.shape)
    held = splits.valid or splits.train
    fit_controller(road.net, held, splits.valid, run=run, judge=native_judge(road.net), progress=not quiet)


def _lower(road: _Road, say: Callable[[str], object]) -> None:
    import dqt

    road.program = dqt.lower(road.net, info=road.splits.train.info)
    road.engine = engine_of(road.program, EngineName.NATIVE)
    road.program.save(road.file)
    road.bytes = road.file.stat().st_size
    say(f"lowered to {road.file}: {road.bytes:,} bytes for every width")


def _plan(road: _Road, say: Callable[[str], object]) -> None:
    import torch

    from dqt.arith.cost import cost
    from dqt.train.search import search
    from dqt.train.seeds import permutation

    train = road.splits.train
    order = permutation(len(train), 0, "search")[:MEASURED]
    budget = cost(road.program, _search_width(road.program)).share
    road.plan = search(road.net, [train.batch(part)[0] for part in torch.split(order, 128)], bitops=budget)
    road.plan.save(road.out / "plan.json")
    say(f"searched a plan for {100 * budget:.1f} % of the BitOPs")


def _search_width(program: Program) -> int:
    """The width whose BitOPs the plan may spend: 3 bits, or the nearest that the program has."""
    return min(program.space.widths, key=lambda b: abs(b - SEARCH_WIDTH))


def _evaluate(road: _Road) -> Results:
    from dqt.arith.plan import AUTO, resolve
    from dqt.program.evaluate import as_defined, evaluate
    from dqt.report.collect import auto_of, results_of, row_of
    from dqt.train.data import DataSet

    program, test = road.program, road.splits.test
    inputs, labels = test.inputs().numpy(), test.labels.numpy()
    tasks: list[tuple[str, Kind, PlanLike, int | None]] = [
        (f"{b} bits", "uniform", b, b) for b in reversed(program.space.widths)
    ]
    tasks.append((f"plan, as {_search_width(program)} bits", "plan", road.plan, None))
    if program.space.choices:
        tasks.append((AUTO, "auto", AUTO, None))
    rows, auto = [], None
    for label, kind, plan, bits in tasks:
        found = evaluate(program, inputs, plan, engine=road.engine)
        served = as_defined(program, inputs, plan, found)
        trained = _trained(road, label, plan, inputs)
        fixed: Any = None if kind == "auto" else resolve(program.space, plan)
        rows.append(row_of(program, label, kind, found, labels, bits=bits, plan=fixed, trained=trained, served=served))
        if kind == "auto":
            auto = auto_of(program, found, labels, test.images.numpy() if isinstance(test, DataSet) else None)
            rows += _rivals(road, rows, found, inputs)
    words = f"the {test.name} test set"
    title = f"dqt demo: {road.name}"
    results = results_of(
        program, rows, name=title, data=words, samples=len(labels), model_bytes=road.bytes, auto=auto, engine="native"
    )
    return _timed(road, results, {label: plan for label, _, plan, _ in tasks}, inputs)


def _timed(road: _Road, results: Results, plans: dict[str, PlanLike], inputs: npt.NDArray[np.float32]) -> Results:
    """The results with the time of every row that a plan or a cascade stands for."""
    from dqt.arith.cascade import Cascade
    from dqt.report.collect import timed
    from dqt.runtime.timing import timed as room

    for row in results.rows:
        if row.kind == "cascade":
            plans[row.label] = Cascade.load(road.cascade)
    found, words = room(road.program, plans, inputs)
    return timed(results, {label: (each.median, each.p10, each.p90) for label, each in found.items()}, words)


def _trained(road: _Road, label: str, plan: PlanLike, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The outputs of the differentiable network; and whether its exact form equals the program to the bit."""
    import numpy as np
    import torch

    from dqt.program.interpret import interpret
    from dqt.train.predict import outputs

    x = torch.from_numpy(inputs)
    exact = outputs(road.net, x, plan, exact=True).numpy()
    road.exact[label] = bool(np.array_equal(exact, interpret(road.program, inputs, plan)))
    found: npt.NDArray[np.float32] = outputs(road.net, x, plan).numpy()
    return found


def _rivals(road: _Road, rows: list[Row], auto: Evaluation, inputs: npt.NDArray[np.float32]) -> list[Row]:
    """What the controller must beat at its own cost: a cascade, and its own choices dealt to other samples."""
    import numpy as np

    from dqt.arith.plan import PlanError
    from dqt.program.cascade import calibrate_cascade
    from dqt.program.evaluate import as_defined, evaluate, evaluate_widths
    from dqt.report.collect import row_of, uniform_at

    program, labels = road.program, road.splits.test.labels.numpy()
    road.uniform_at_auto = uniform_at(rows, auto.share)
    dealt = auto.widths[np.random.default_rng(0).permutation(len(auto.widths))]
    random = evaluate_widths(program, inputs, dealt, engine=road.engine)
    served = as_defined(program, inputs, dealt, random)
    found = [row_of(program, "random, as auto", "random", random, labels, served=served)]
    held = road.splits.valid or road.splits.train
    batches = [(held.inputs().numpy(), held.labels.numpy())]
    least = program.space.widths[0]
    try:
        widths = (least, program.space.master)
        cascade = calibrate_cascade(program, batches, widths, bitops=auto.share, engine=road.engine)
    except PlanError:  # the lowest width alone costs more than the controller spends: it has no such rival
        return found
    label = f"cascade {least} then {program.space.master}, as auto"
    cascade.save(road.cascade)
    answers = evaluate(program, inputs, cascade, engine=road.engine)
    served = as_defined(program, inputs, cascade, answers)
    return [*found, row_of(program, label, "cascade", answers, labels, served=served)]


def _write(road: _Road, results: Results) -> dict[str, Path]:
    from dqt.arith.files import write_file
    from dqt.report import markdown, save_results, write_page

    out = road.out
    save_results(results, out)
    write_page(results, out / "report.html")
    write_file(out / "report.md", markdown(results))
    return {
        "program": road.file,
        "plan": out / "plan.json",
        **({"cascade": road.cascade} if any(row.kind == "cascade" for row in results.rows) else {}),
        "results": out / "results.json",
        "page": out / "report.html",
        "tables": out / "report.md",
        "run": out / "run",
    }


def _show(road: _Road, results: Results, written: dict[str, Path], seconds: float) -> None:
    show(results)
    if all(road.exact.values()):
        typer.echo("In every run that torch can do, its exact integers equal the program's to the bit.")
    else:
        wrong = ", ".join(label for label, equal in road.exact.items() if not equal)
        alarm(f"The exact integers of torch differ from the program's: {wrong}. This is a defect of dqt: report it.")
    if road.uniform_at_auto is not None:
        auto = next(row for row in results.rows if row.kind == "auto")
        typer.echo(
            f"auto: {100 * auto.score:.2f} %; uniform widths at equal BitOPs, interpolated: "
            f"{100 * road.uniform_at_auto:.2f} %"
        )
    typer.echo(f"Done in {seconds:.0f} s:")
    for name, path in written.items():
        typer.echo(f"  {name:8} {path}")
    typer.echo(f"next: dqt inspect {road.file}")
