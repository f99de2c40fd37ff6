"""Softmax over the last dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.arith.bounds import INT32
from dqt.arith.powers import FACTOR_BITS, POWER_BITS, exponents, power_table, powers, probabilities, row_factor
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import Shape, Value

if TYPE_CHECKING:
    from dqt.program.execute import Execution

MOST_LEVELS = 1 << (62 - POWER_BITS - FACTOR_BITS)


@dataclass(frozen=True)
class Softmax(Operator):
    """``levels * exp(q) / sum exp(q)`` of each row, the last dimension (docs/numerics.md, equations 25 to 29).

    ``out`` holds integers in ``[0, hi]`` with zero 0 and scale ``1 / levels``. Shares above ``hi / levels`` saturate.

    Attributes:
        m, shift: ``m / 2^shift`` is the input's scale in units of ``2^-10 / log2(e)``.
    """

    x: str
    out: str
    m: int
    shift: int

    def output_shape(self, scope: Scope) -> Shape:
        """The input's; see :meth:`Operator.output_shape`."""
        x, out = scope.ranked(self.x), scope.values[self.out]
        require(1 <= self.shift <= 32, f"shift {self.shift}, need 1 to 32")
        require(0 <= self.m <= INT32, f"m {self.m}, need 0 to {INT32}")
        unsigned = out.zero == 0 and out.lo == 0 and 1 <= out.hi <= MOST_LEVELS
        require(unsigned, f"writes {out.name} in [{out.lo}, {out.hi}], zero {out.zero}: need [0, levels], zero 0")
        levels = levels_of(out)
        scaled = out.hi <= levels <= MOST_LEVELS and np.float32(out.scale) == np.float32(1 / levels)
        require(bool(scaled), f"writes {out.name} with scale {out.scale}, need 1 / levels, levels {out.hi} or more")
        return x.shape

    def run(self, run: Execution) -> Any:
        """Integers (docs/numerics.md, equations 25 to 29). The largest difference of two int32 keeps (25) in int64."""
        x, out, xp = run.data[self.x], run.empty(self.out), run.xp
        table = run.constant(("powers",), lambda: xp.constant(power_table()))
        most, levels, count = run.value(self.out).hi, levels_of(run.value(self.out)), x.shape[-1]
        for some in xp.blocks(len(out), size(out.shape[1:])):
            q = xp.int64(x[some])
            power = powers(exponents(xp.largest(q, (-1,)) - q, self.m, self.shift), count, table)
            factor = row_factor(power.sum(-1, keepdims=True), count, levels)
            out[some] = probabilities(power, factor, count).clip(0, most)
        return out


def levels_of(out: Value) -> int:
    """The integer that stands for 1 in the result of a softmax: one over its scale, which is a float32 number."""
    return out.hi if np.float32(out.scale) == np.float32(1 / out.hi) else round(min(1 / out.scale, 2.0**62))
