"""``dqt search``: static mixed precision, or a cascade, under a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqt.cli.inputs import EngineName, TaskOption, checkpoint_of, engine_of, rooted, widths_of
from dqt.cli.output import CheckpointFile, DataRoot, Json, emit, table, written

if TYPE_CHECKING:
    from torch import Tensor

    from dqt.arith.cascade import Cascade
    from dqt.arith.plan import Plan, Space
    from dqt.nn.net import Net
    from dqt.program.task import Task
    from dqt.train.checkpoint import Checkpoint
    from dqt.train.data import ArraySet, DataSet
    from dqt.train.pictures import PictureSet
    from dqt.train.recipe import Run

BATCH = 128


def search(
    checkpoint: CheckpointFile,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="A data set, such as cifar10=PATH; default: the run's own.")
    ] = None,
    bitops: Annotated[
        float | None, typer.Option("--bitops", help="At most 1: a share of the master's BitOPs; above: a count.")
    ] = None,
    size: Annotated[
        float | None, typer.Option("--size", help="At most 1: a share of the master's bytes; above: bytes read.")
    ] = None,
    cascade: Annotated[
        str | None, typer.Option("--cascade", metavar="WIDTHS", help="A cascade over such as 2,4,8 instead of a plan.")
    ] = None,
    out: Annotated[Path | None, written("FILE.json", "Where it goes; default: plan.json or cascade.json.")] = None,
    edges: Annotated[bool, typer.Option("--edges", help="Search the first and last layer, too.")] = False,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many samples to measure on.")] = 512,
    task: TaskOption = None,
    data_root: DataRoot = None,
    as_json: Json = False,
) -> None:
    """Choose a width for each layer under a budget: measured sensitivities, solved exactly, the best plan kept.

    With --cascade, choose the margins below which a sample runs again at the next width; --bitops is what a sample may
    cost on average, every pass counted. Either file serves as --plan of dqt eval, run and bench.
    """
    from dqt.train.build import rebuild, task_of_run

    net, held = rebuild(checkpoint_of(checkpoint))
    run = _run(held, task, data, data_root)
    judge = task_of_run(run)

    def batches() -> list[tuple[Tensor, Tensor]]:  # read only when the budget is known to be one
        return _batches(_data(run), samples)

    if cascade is None:
        _plan(net, judge, batches, out or Path("plan.json"), bitops=bitops, size=size, edges=edges, as_json=as_json)
        return
    if size is not None or edges:
        raise typer.BadParameter("--cascade has uniform widths and a budget of --bitops: leave out --size and --edges")
    widths = widths_of(cascade, "--cascade", "2,4,8")
    _cascade(net, judge, batches, widths, out or Path("cascade.json"), bitops=bitops, as_json=as_json)


def _plan(
    net: Net, task: Task | None, batches: Callable[[], list[tuple[Tensor, Tensor]]], out: Path, *,
    bitops: float | None, size: float | None, edges: bool, as_json: bool,
) -> None:  # fmt: skip
    from dqt.arith.cost import cost
    from dqt.train import search as room

    room.budgets(net.space, bitops=bitops, size=size, edges=edges)
    measured = batches()
    plan = room.search(net, measured, bitops=bitops, size=size, edges=edges, task=task, progress=not as_json)
    plan.save(out)
    paid = cost(net, plan)
    result: dict[str, Any] = {
        "plan": str(out),
        "layers": {name: list(pair) for name, pair in plan.items()},
        "cost": paid.as_dict(),
        "samples": sum(len(labels) for _, labels in measured),
    }

    def human() -> None:
        table(("layer", "bits"), [(name, str(pair[0])) for name, pair in plan.items()])
        if plan in _uniform_plans(net.space):
            typer.echo("a uniform width: on these samples no other plan within the budget measures better")
        typer.echo(f"{100 * paid.share:.2f} % of the master's BitOPs, {paid.read_bytes:,} bytes of weights read")
        typer.echo(f"{out}\nnext: dqt eval NET.dqt DATA --plan {out}")

    emit(result, as_json, human, out=out)


def _cascade(
    net: Net, task: Task | None, batches: Callable[[], list[tuple[Tensor, Tensor]]], widths: list[int], out: Path, *,
    bitops: float | None, as_json: bool,
) -> None:  # fmt: skip
    import numpy as np

    import dqt
    from dqt.arith.cost import full_bitops
    from dqt.program.evaluate import evaluate

    if bitops is None:
        raise dqt.PlanError("no budget: give --bitops 0.12, a share of the master's BitOPs (or a count)")
    program = dqt.lower(net)
    engine = engine_of(program, EngineName.NATIVE)
    pairs: list[tuple[Any, Any]] = []

    def read() -> Iterator[tuple[Any, Any]]:
        pairs.extend((x.numpy(), labels.numpy()) for x, labels in batches())
        yield from pairs

    share = bitops if bitops <= 1 else bitops / full_bitops(program.space)
    found = dqt.calibrate_cascade(program, read(), widths, bitops=share, engine=engine, task=task)
    found.save(out)
    spent = evaluate(program, np.concatenate([x for x, _ in pairs]), found, engine=engine, task=task)
    result: dict[str, Any] = {
        "cascade": str(out),
        "widths": list(found.widths),
        "margins": list(found.margins),
        "share": spent.share,
        "samples": len(spent.bitops),
    }

    emit(result, as_json, lambda: _show_cascade(found, result), out=out)


def _show_cascade(found: Cascade, result: dict[str, Any]) -> None:
    steps = zip(found.margins, found.widths[1:], strict=True)
    said = [*(f"a margin of {margin:,} or less: again at {b} bits" for margin, b in steps), "the last"]
    table(("bits", "then"), [(str(b), words) for b, words in zip(found.widths, said, strict=True)], left=2)
    where = f"on these {result['samples']:,} samples, every pass counted"
    typer.echo(f"{100 * result['share']:.2f} % of the master's BitOPs {where}")
    typer.echo(f"{result['cascade']}\nnext: dqt eval NET.dqt DATA --plan {result['cascade']}")


def _uniform_plans(space: Space) -> list[Plan]:
    """Every uniform plan of a network."""
    from dqt.arith.plan import uniform

    return [uniform(space, b) for b in space.widths]


def _run(held: Checkpoint, task: str | None, spec: str | None, root: Path | None) -> Run:
    """The run of a checkpoint, with another task or other data where they are given."""
    from dqt.train.recipe import run_from

    run = run_from(held.run or {}, "the checkpoint")
    if spec is not None:
        run = run.model_copy(update={"data": run.data.model_copy(update={"spec": spec})})
    return rooted(run.model_copy(update={"task": task}) if task is not None else run, root)


def _data(run: Run) -> DataSet | ArraySet | PictureSet:
    """Samples to measure on: those held out of training, or else the training samples."""
    from dqt.train.build import load_splits
    from dqt.train.pictures import PictureSet

    splits = load_splits(run)
    if splits.valid is not None:
        return splits.valid
    return replace(splits.train, random=False) if isinstance(splits.train, PictureSet) else splits.train


def _batches(data: DataSet | ArraySet | PictureSet, samples: int) -> list[tuple[Tensor, Tensor]]:
    """A fixed draw of ``samples``."""
    import torch

    from dqt.train.seeds import permutation

    order = permutation(len(data), 0, "search")[:samples]
    return [data.batch(part) for part in torch.split(order, BATCH)]
