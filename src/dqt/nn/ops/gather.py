"""Elements picked by index along a dimension: what repeats, rolls, flips, and is indexed by lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import fx

from dqt.nn.graph import Node
from dqt.nn.moves import moved, on_two, placed, taken
from dqt.nn.operator import Operator
from dqt.nn.ops.constant import add_constant
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.gather import Gather

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _repeat(b: Builder, call: fx.Node) -> str:
    """Of a constant, at least once for each sample; of an activation, along other dimensions than the batch."""
    constant = b.constants.of(call.args[0])
    if constant is None:
        return moved(b, call)
    shape = b.shape(call)
    samples = on_two(b, call, torch.arange(constant.numel(), dtype=torch.float64).reshape(constant.shape)).long()
    if not torch.equal(samples[0], samples[1]):
        raise b.unsupported(call, "makes a constant that differs from one sample of the batch to another")
    if constant.numel() == samples[0].numel():
        return add_constant(b, call, call.args[0], shape)
    whole = (1,) * (len(shape) - constant.dim()) + tuple(constant.shape)
    return placed(b, call, add_constant(b, call, call.args[0], whole[len(whole) - len(shape) :]), samples[0])


def _nearest(b: Builder, call: fx.Node) -> str:
    """Images of another size whose every pixel is the nearest one: torch is asked which, along each axis of space."""
    x, exact = b.value(call, call.args[0]), "exact" in str(call.target)
    scales: Sequence[float | None] = b.arg(call, 2, "scale_factors") or [None] * len(b.shape(call)[1:])
    run = torch.ops.aten._upsample_nearest_exact1d if exact else torch.ops.aten.upsample_nearest1d
    for axis, (length, scale) in enumerate(zip(b.shape(call)[1:], scales, strict=True), start=1):
        line = torch.arange(b.captured.shapes[x][axis], dtype=torch.float64)
        x = taken(b, call, x, axis, run(line[None, None], [length], scale).flatten().long().tolist())
    return x


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw = ins[0].raw
    indices = torch.tensor(node.attrs["indices"], device=raw.device)
    return ins[0].like(raw.index_select(1 + node.attrs["axis"], indices))


def _emit(e: Emission, node: Node) -> None:
    e.append(Gather(*e.moved(node), node.attrs["axis"], np.array(node.attrs["indices"], dtype=np.int32)))


COPIES = (
    "aten.flip.default",
    "aten.roll.default",
    "aten.rot90.default",
    "aten.index.Tensor",
    "aten.index_select.default",
    "aten.tile.default",
    "aten.repeat_interleave.self_int",
)
NEAREST = tuple(
    f"aten.{name}{dims}d.vec" for name in ("upsample_nearest", "_upsample_nearest_exact") for dims in (1, 2, 3)
)
VIEWS = ("aten.expand.default", "aten.expand_as.default", "aten.unfold.default", "aten.diagonal.default")
OPERATOR = Operator(
    kind="gather",
    fake=_fake,
    emit=_emit,
    aten={
        **dict.fromkeys(COPIES, moved),
        **dict.fromkeys(NEAREST, _nearest),
        **dict.fromkeys((*VIEWS, "aten.repeat.default"), _repeat),
    },
    moves=True,
    shares_memory=frozenset(VIEWS),
)
