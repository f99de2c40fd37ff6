"""Difference of two values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import fx

from dqt.arith.affine import add_constants
from dqt.nn.elementwise import append_binary, binary
from dqt.nn.graph import Step
from dqt.nn.operator import Operator, in_place_too
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.add import Add

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _rsub(b: Builder, node: fx.Node) -> str:
    if float(b.arg(node, 2, "alpha", 1)) != 1:
        raise b.unsupported(node, "scales an operand (alpha)")
    return append_binary(b, node, "sub", node.args[1], node.args[0])


def _fake(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(ins[0].master - ins[1].master, net.edge(step), run.quantized)


def _emit(e: Emission, step: Step) -> None:
    """An addition whose second scale is negative."""
    a, b, out = (e.net.codes(name) for name in (*step.ins, step.out))
    c = add_constants(a.step, a.zero, -b.step, b.zero, out.step, out.zero)
    e.append(Add(e.source(step), e.source(step, 1), e.result(step), c.k1, c.k2, c.k3, c.shift, out.lo, out.hi))


OPERATOR = Operator(
    kind="sub",
    fake=_fake,
    emit=_emit,
    aten={
        **in_place_too("sub.Tensor", binary("sub")),
        "aten.rsub.Scalar": _rsub,
        "aten.rsub.Tensor": _rsub,
    },
    own_edge=True,
)
