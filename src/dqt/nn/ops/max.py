"""The largest value along dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import fx

from dqt.nn.graph import Node
from dqt.nn.moves import kept_axes, without
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.max import Max

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _amax(b: Builder, call: fx.Node) -> str:
    x = b.operand(call, call.args[0])
    axes, shape = kept_axes(b, call, b.arg(call, 1, "dim"))
    largest = b.add(call, "max", [x], edge="same", attrs={"axes": axes}, shape=shape)
    return without(b, call, largest, axes, keep=bool(b.arg(call, 2, "keepdim", False)))


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """The largest of real values becomes the largest of codes."""
    return ins[0].like(ins[0].raw.amax([1 + axis for axis in node.attrs["axes"]], keepdim=True))


def _emit(e: Emission, node: Node) -> None:
    e.append(Max(*e.moved(node), node.attrs["axes"]))


OPERATOR = Operator(
    kind="max", fake=_fake, emit=_emit, aten=dict.fromkeys(("aten.amax.default", "aten.max.dim"), _amax)
)
