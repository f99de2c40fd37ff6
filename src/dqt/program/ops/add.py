"""Addition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.arith.affine import AddConstants, add
from dqt.arith.bounds import INT32, INT64
from dqt.program.checks import prove_within
from dqt.program.elementwise import broadcast_shape, each_block
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Add(Operator):
    """``clamp((k1*a + k2*b + k3) >> shift, lo, hi)``; ``a`` and ``b`` broadcast as in NumPy (equation 11)."""

    a: str
    b: str
    out: str
    k1: int
    k2: int
    k3: int
    shift: int
    lo: int
    hi: int

    def output_shape(self, scope: Scope) -> Shape:
        """That of both, broadcast; see :meth:`Operator.output_shape`."""
        return broadcast_shape(self, scope)

    def prove(self, scope: Scope) -> None:
        """See :meth:`Operator.prove`."""
        a, b = scope.values[self.a].reach, scope.values[self.b].reach
        prove_within(max(abs(self.k1), abs(self.k2)), INT32, "a multiplier")
        prove_within(abs(self.k1) * a + abs(self.k2) * b + abs(self.k3), INT64, "k1*a + k2*b + k3")

    def run(self, run: Execution) -> Any:
        """Integers (docs/numerics.md, equation 11)."""
        k = AddConstants(self.k1, self.k2, self.k3, self.shift)
        return each_block(self, run, lambda a, b: add(a, b, k, self.lo, self.hi))
