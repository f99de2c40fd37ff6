"""``dqt search``: static mixed precision under a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqt.cli.inputs import checkpoint_of, rooted
from dqt.cli.output import CheckpointFile, DataRoot, Json, emit, table

if TYPE_CHECKING:
    from torch import Tensor

    from dqt.train.checkpoint import Checkpoint
    from dqt.train.data import DataSet

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
    data_root: DataRoot = None,
    as_json: Json = False,
) -> None:
    """Choose a width for each layer under a budget: measured sensitivities, solved exactly, the best plan kept."""
    from dqt.arith.cost import cost
    from dqt.train import search as room
    from dqt.train.checkpoint import rebuild

    net, held = rebuild(checkpoint_of(checkpoint))
    room.budgets(net.space, bitops=bitops, size=size, edges=edges)  # before the data is read
    batches = _batches(_data(held, data, data_root), samples)
    plan = room.search(net, batches, bitops=bitops, size=size, edges=edges, progress=not as_json)
    plan.save(out)
    paid = cost(net, plan)
    result: dict[str, Any] = {
        "plan": str(out),
        "layers": {name: list(pair) for name, pair in plan.items()},
        "cost": paid.as_dict(),
        "samples": sum(len(labels) for _, labels in batches),
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


def _batches(data: DataSet, samples: int) -> list[tuple[Tensor, Tensor]]:
    """A fixed draw of ``samples``."""
    import torch

    from dqt.train.seeds import permutation

    order = permutation(len(data), 0, "search")[:samples]
    return [data.batch(part) for part in torch.split(order, BATCH)]
