"""Multiplication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.arith.affine import MultiplyConstants, multiply
from dqt.arith.bounds import INT32, INT64
from dqt.program.checks import prove_within
from dqt.program.elementwise import broadcast_shape, each_block
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Multiply(Operator):
    """``clamp((k1*a*b + k2*a + k3*b + k4) >> shift, lo, hi)``; broadcasts as in NumPy (equation 12)."""

    a: str
    b: str
    out: str
    k1: int
    k2: int
    k3: int
    k4: int
    shift: int
    lo: int
    hi: int

    def output_shape(self, scope: Scope) -> Shape:
        """That of both, broadcast; see :meth:`Operator.output_shape`."""
        return broadcast_shape(self, scope)

    def prove(self, scope: Scope) -> None:
        """See :meth:`Operator.prove`."""
        a, b = scope.values[self.a].reach, scope.values[self.b].reach
        prove_within(abs(self.k1), INT32, "the multiplier k1")
        total = abs(self.k1) * a * b + abs(self.k2) * a + abs(self.k3) * b + abs(self.k4)
        prove_within(total, INT64, "k1*a*b + k2*a + k3*b + k4")

    def run(self, run: Execution) -> Any:
        """Integers (docs/numerics.md, equation 12)."""
        k = MultiplyConstants(self.k1, self.k2, self.k3, self.k4, self.shift)
        return each_block(self, run, lambda a, b: multiply(a, b, k, self.lo, self.hi))
