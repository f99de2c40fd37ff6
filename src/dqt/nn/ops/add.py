"""Addition of two values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dqt.arith.affine import add_constants
from dqt.nn.elementwise import binary
from dqt.nn.graph import Node
from dqt.nn.operator import Operator, in_place_too
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.add import Add

if TYPE_CHECKING:
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(ins[0].master + ins[1].master, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    a, b = (e.codes(name) for name in node.ins)
    out = e.result_codes(node, e.reach(node) + e.reach(node, 1))
    c = add_constants(a.scale, a.zero, b.scale, b.zero, out.scale, out.zero)
    e.append(Add(e.source(node), e.source(node, 1), e.result(node, out), c.k1, c.k2, c.k3, c.shift, out.lo, out.hi))


OPERATOR = Operator(
    kind="add",
    fake=_fake,
    emit=_emit,
    aten=in_place_too("add.Tensor", binary("add")),
    own_quantizer=True,
    int32_result=True,
    int32_operands=True,
    keeps_sign=True,
)
