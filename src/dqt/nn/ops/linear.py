"""Matrix product over the last dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from dqt.nn import integers
from dqt.nn.graph import Node
from dqt.nn.layered import add_layer, fake_layer
from dqt.nn.operator import Operator
from dqt.program.ops.linear import Linear

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission


def _linear(b: Builder, call: fx.Node) -> str:
    x = b.operand(call, call.args[0])
    b.placements.axis(call, call.args[0], -1)  # type: ignore[arg-type]
    return add_layer(b, call, "linear", x, {})


def _emit(e: Emission, node: Node) -> None:
    k = integers.layer_integers(e.net, node)
    x, out = e.source(node), e.result(node, k.out)
    e.append(Linear(node.layer, x, out, k.weight, k.m, k.c, k.shift, k.out.lo, k.out.hi))


OPERATOR = Operator(kind="linear", fake=fake_layer, emit=_emit, aten={"aten.linear.default": _linear}, own_edge=True)
