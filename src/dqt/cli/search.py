"""``dqt search``: static mixed precision under a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqt.cli.inputs import checkpoint_of, rooted
from dqt.cli.output import CheckpointFile, DataRoot, Json, emit, table

if TYPE_CHECKING:
    from dqt.nn.net import Net
    from dqt.train.checkpoint import Checkpoint
    from dqt.train.data import DataSet
    from dqt.train.search import Sensitivity

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
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PLAN.json", help="Where the plan goes.")] = Path(
        "plan.json"
    ),
    edges: Annotated[bool, typer.Option("--edges", help="Search the first and last layer, too.")] = False,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many samples to measure on.")] = 512,
    sensitivity: Annotated[
        Path | None,
        typer.Option("--sensitivity", metavar="FILE", help="Read the measurements from here, or write them here."),
    ] = None,
    data_root: DataRoot = None,
    as_json: Json = False,
) -> None:
    """Choose a width for each layer: measure what each loses, then solve exactly for the least loss in the budget."""
    from dqt.arith.cost import cost
    from dqt.train.checkpoint import rebuild
    from dqt.train.search import Sensitivity, budgets, solve

    net, held = rebuild(checkpoint_of(checkpoint))
    budgets(net.space, bitops=bitops, size=size, edges=edges)
    if sensitivity is not None and sensitivity.exists():
        measured = Sensitivity.load(sensitivity)
    else:
        measured = _measure(net, _data(held, data, data_root), samples, quiet=as_json)
        if sensitivity is not None:
            measured.save(sensitivity)
    plan = solve(measured, net.space, bitops=bitops, size=size, edges=edges)
    plan.save(out)
    paid = cost(net, plan)
    result: dict[str, Any] = {
        "plan": str(out),
        "layers": {name: list(pair) for name, pair in plan.items()},
        "cost": paid.as_dict(),
        "samples": measured.samples,
        "objective": measured.objective,
    }

    def human() -> None:
        table(("layer", "bits"), [(name, str(pair[0])) for name, pair in plan.items()])
        typer.echo(f"{100 * paid.share:.2f} % of the master's BitOPs, {paid.read_bytes:,} bytes of weights read")
        typer.echo(f"{out}\nnext: dqt eval NET.dqt DATA --plan {out}")

    emit(result, as_json, human)


def _data(held: Checkpoint, spec: str | None, root: Path | None) -> DataSet:
    """Samples to measure on: those held out of training, or else the training samples."""
    from dqt.train.build import load_data
    from dqt.train.recipe import run_from

    run = run_from(held.run or {}, "the checkpoint")
    if spec is not None:
        run = run.model_copy(update={"data": run.data.model_copy(update={"spec": spec})})
    splits = load_data(rooted(run, root))
    return splits.valid or splits.train


def _measure(net: Net, data: DataSet, samples: int, *, quiet: bool) -> Sensitivity:
    """By a fixed draw of ``samples``; inputs are normalized as the network was trained."""
    import torch

    from dqt.train.search import sensitivity
    from dqt.train.seeds import permutation

    order = permutation(len(data), 0, "search")[:samples]
    batches = [data.batch(part) for part in torch.split(order, BATCH)]
    return sensitivity(net, batches, progress=not quiet)
