"""Another order of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import fx

from dqt.nn.graph import Step
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.transpose import Transpose

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _transpose(b: Builder, node: fx.Node) -> str:
    x = b.value(node, node.args[0])
    order = _order(node, 1 + len(b.captured.shapes[x]))
    if order[:1] not in ([], [0]):
        raise b.unsupported(node, "moves the batch, which must stay the first dimension")
    if order == sorted(order):
        return x
    return b.keep(node, "transpose", axes=tuple(d - 1 for d in order[1:]))


def _order(node: fx.Node, dims: int) -> list[int]:
    """Which dimension stands where after the operator. The strides of a tensor of nothing say it for all its forms."""
    before = torch.empty((2,) * dims, device="meta")
    after = node.target(before, *node.args[1:], **node.kwargs)  # type: ignore[operator]
    return [before.stride().index(stride) for stride in after.stride()]


def _fake(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    return ins[0].like(ins[0].raw.permute(0, *(axis + 1 for axis in step.attrs["axes"])))


def _emit(e: Emission, step: Step) -> None:
    e.append(Transpose(*e.moved(step), step.attrs["axes"]))


NAMES = (
    "aten.permute.default",
    "aten.transpose.int",
    "aten.swapaxes.default",
    "aten.swapdims.default",
    "aten.movedim.int",
    "aten.movedim.intlist",
    "aten.moveaxis.int",
    "aten.moveaxis.intlist",
    "aten.mT.default",
)
OPERATOR = Operator(
    kind="transpose",
    fake=_fake,
    emit=_emit,
    aten=dict.fromkeys(NAMES, _transpose),
    moves=True,
    shares_memory=frozenset(NAMES),
)
