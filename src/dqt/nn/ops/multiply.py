"""Multiplication of two values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import fx

from dqt.arith.affine import multiply_constants
from dqt.nn.elementwise import binary
from dqt.nn.graph import Node
from dqt.nn.moves import taken
from dqt.nn.operator import Operator, in_place_too
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.multiply import Multiply

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _glu(b: Builder, call: fx.Node) -> str:
    """One half of the channels, multiplied by the sigmoid of the other."""
    x = b.operand(call, call.args[0])
    axis = b.placements.axis(call, call.args[0], int(b.arg(call, 1, "dim", -1)))  # type: ignore[arg-type]
    half = b.captured.shapes[x][axis] // 2
    first, second = (taken(b, call, x, axis, range(i * half, (i + 1) * half)) for i in (0, 1))
    attrs = {"function": "sigmoid", "args": ()}
    gate = b.add(call, "table", [second], quantizer="unsigned", shape=b.captured.shapes[second], attrs=attrs)
    return b.add(call, "multiply", [first, gate])


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(ins[0].master * ins[1].master, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    a, b = (e.codes(name) for name in node.ins)
    out = e.result_codes(node, e.reach(node) * e.reach(node, 1))
    c = multiply_constants(a.scale, a.zero, b.scale, b.zero, out.scale, out.zero)
    names = e.source(node), e.source(node, 1), e.result(node, out)
    e.append(Multiply(*names, c.k1, c.k2, c.k3, c.k4, c.shift, out.lo, out.hi))


OPERATOR = Operator(
    kind="multiply",
    fake=_fake,
    emit=_emit,
    aten={**in_place_too("mul.Tensor", binary("multiply")), "aten.glu.default": _glu},
    own_quantizer=True,
    int32_result=True,
    keeps_sign=True,
)
