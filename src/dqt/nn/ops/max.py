"""The largest value along dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from torch import fx

from dqt.nn.graph import Node
from dqt.nn.moves import kept_axes, without
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.rescaling import append_rescale, negated
from dqt.nn.run import Run
from dqt.program.ops.max import Max

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _extreme(b: Builder, call: fx.Node, *, sign: int) -> str:
    """The largest (``sign`` 1) or the smallest (-1) along dimensions."""
    x = b.operand(call, call.args[0])
    axes, shape = kept_axes(b, call, b.arg(call, 1, "dim"))
    y = b.add(call, "max", [x], quantizer="same", attrs={"axes": axes, "sign": sign}, shape=shape)
    return without(b, call, y, axes, keep=bool(b.arg(call, 2, "keepdim", False)))


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """The largest of real values becomes the largest of codes."""
    dims, raw = [1 + axis for axis in node.attrs["axes"]], ins[0].raw
    return ins[0].like(raw.amax(dims, keepdim=True) if node.attrs["sign"] > 0 else raw.amin(dims, keepdim=True))


def _emit(e: Emission, node: Node) -> None:
    """The smallest is the largest of what is negated, negated."""
    if node.attrs["sign"] > 0:
        e.append(Max(*e.moved(node), node.attrs["axes"]))
        return
    codes = e.codes(node.ins[0])
    held = negated(codes)
    x = e.define(e.fresh(f"{node.out}.negated"), e.net.shapes[node.ins[0]], held)
    append_rescale(e, e.source(node), codes, x, held, -1.0)
    largest = e.define(e.fresh(f"{node.out}.largest"), node.shape, held)
    e.append(Max(x, largest, node.attrs["axes"]))
    append_rescale(e, largest, held, e.moved(node)[1], codes, -1.0)


OPERATOR = Operator(
    kind="max",
    fake=_fake,
    emit=_emit,
    aten={
        **dict.fromkeys(("aten.amax.default", "aten.max.dim"), partial(_extreme, sign=1)),
        **dict.fromkeys(("aten.amin.default", "aten.min.dim"), partial(_extreme, sign=-1)),
    },
)
