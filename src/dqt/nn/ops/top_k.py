"""The largest values along a dimension, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import fx

from dqt.nn.graph import Node
from dqt.nn.moves import transposed
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.top_k import TopK

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _top_k(b: Builder, call: fx.Node) -> str:
    """Along one dimension, which is the last while the operator runs."""
    if not b.arg(call, 3, "largest", True):
        raise b.unsupported(call, "takes the smallest: negate its operand and its result, and take the largest")
    source = call.args[0]
    assert isinstance(source, fx.Node)
    x = b.operand(call, source)
    shape = b.captured.shapes[x]
    axis = b.placements.axis(call, source, int(b.arg(call, 2, "dim", -1)) % source.meta["val"].dim())
    order = (*(i for i in range(len(shape)) if i != axis), axis)
    count = int(b.arg(call, 1, "k"))
    moved = (*(shape[i] for i in order[:-1]), count)
    row = transposed(b, call, x, order)
    y = b.add(call, "top_k", [row], quantizer="same", attrs={"count": count}, shape=moved)
    b.placements.put(call, b.placements.of(source))
    return transposed(b, call, y, [order.index(i) for i in range(len(shape))])


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """The largest of real values become the largest of codes."""
    return ins[0].like(ins[0].raw.topk(int(node.attrs["count"]), -1).values)


def _emit(e: Emission, node: Node) -> None:
    e.append(TopK(*e.moved(node), node.attrs["count"]))


OPERATOR = Operator(
    kind="top_k",
    fake=_fake,
    emit=_emit,
    aten={"aten.topk.default": _top_k},
)
