"""Elements picked by index along a dimension: what repeats, rolls, flips, and is indexed by lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import fx

from dqt.nn.columns import joined, windows
from dqt.nn.graph import Node
from dqt.nn.moves import images, moved, reshaped, taken
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.gather import Gather

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _nearest(b: Builder, call: fx.Node) -> str:
    """Images of another size whose every pixel is the nearest one: torch is asked which, along each axis of space."""
    (x, (_, *sides)), exact = images(b, call), "exact" in str(call.target)
    scales: Sequence[float | None] = b.arg(call, 2, "scale_factors") or [None] * len(sides)
    run = torch.ops.aten._upsample_nearest_exact1d if exact else torch.ops.aten.upsample_nearest1d
    for axis, (length, scale) in enumerate(zip(sides, scales, strict=True), start=1):
        line = torch.arange(b.captured.shapes[x][axis], dtype=torch.float64)
        x = taken(b, call, x, axis, run(line[None, None], [length], scale).flatten().long().tolist())
    return reshaped(b, call, x, b.shape(call))


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw, axis = ins[0].raw, 1 + node.attrs["axis"]
    if "times" in node.attrs:  # of a named dimension: see dqt.nn.variants
        return ins[0].like(raw.repeat_interleave(node.attrs["times"], axis))
    indices = torch.tensor(node.attrs["indices"], device=raw.device)
    return ins[0].like(raw.index_select(axis, indices))


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
        **dict.fromkeys((*COPIES, *VIEWS, "aten.repeat.default"), moved),
        **dict.fromkeys(NEAREST, _nearest),
        "aten.im2col.default": windows,
        "aten.col2im.default": joined,
    },
    moves=True,
    selects=True,
    shares_memory=frozenset(VIEWS),
)
