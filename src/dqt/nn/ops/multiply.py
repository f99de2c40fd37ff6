"""Multiplication of two values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dqt.arith.affine import multiply_constants
from dqt.nn.elementwise import binary
from dqt.nn.graph import Step
from dqt.nn.operator import Operator, in_place_too
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.multiply import Multiply

if TYPE_CHECKING:
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _fake(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(ins[0].master * ins[1].master, net.edge(step), run.quantized)


def _emit(e: Emission, step: Step) -> None:
    a, b, out = (e.net.codes(name) for name in (*step.ins, step.out))
    c = multiply_constants(a.step, a.zero, b.step, b.zero, out.step, out.zero)
    e.append(
        Multiply(e.source(step), e.source(step, 1), e.result(step), c.k1, c.k2, c.k3, c.k4, c.shift, out.lo, out.hi)
    )


OPERATOR = Operator(
    kind="multiply",
    fake=_fake,
    emit=_emit,
    aten=in_place_too("mul.Tensor", binary("multiply")),
    own_edge=True,
    keeps_sign=True,
)
