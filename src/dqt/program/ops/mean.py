"""Sums and means over dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.arith.bounds import INT32, INT64
from dqt.arith.fixed import area_multiplier, requantize
from dqt.program.checks import check_axes, check_rounding, prove_within
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


MOST = 2**62
"""The largest ``m``: half an area on top of it is within 64 bits."""


@dataclass(frozen=True)
class Mean(Operator):
    """The sum of ``q - zero`` along ``axes``, ascending, requantized: ``clamp((acc * k + c) >> shift, lo, hi)``.

    The axes are 1 long afterwards; axis 0 is the first dimension after the batch. ``k`` is ``m`` for a sum. For a mean
    (``divides``) it is ``floor((m + floor(A / 2)) / A)``, ``A`` elements that become one: it follows the sizes that
    dimensions have in a run (docs/numerics.md, equation 30).
    """

    x: str
    out: str
    axes: tuple[int, ...]
    divides: bool
    m: int
    c: int
    shift: int
    lo: int
    hi: int

    def output_shape(self, scope: Scope) -> Shape:
        """The input's, with 1 along the axes; see :meth:`Operator.output_shape`."""
        check_rounding(self, scope)
        return check_axes(scope.ranked(self.x), self.axes)

    def prove(self, scope: Scope) -> None:
        """The sum times its multiplier fits int64; see :meth:`Operator.prove`."""
        x = scope.values[self.x]
        area, k = self._area(x.shape), abs(self.multiplier(x.shape))
        prove_within(abs(self.m), MOST, "m")
        prove_within(k, INT32, f"the multiplier of {area} elements")
        reach = area * max(abs(x.hi - x.zero), abs(x.lo - x.zero))
        prove_within(reach * k + abs(self.c), INT64, f"acc * m + c of {area} elements")

    def multiplier(self, shape: Shape) -> int:
        """What multiplies the sum over a value of ``shape``."""
        return area_multiplier(self.m, self._area(shape)) if self.divides else self.m

    def _area(self, shape: Shape) -> int:
        return size(tuple(shape[axis] for axis in self.axes))

    def run(self, run: Execution) -> Any:
        """An exact sum in int64, then equation 8 of docs/numerics.md."""
        x, out, value = run.data[self.x], run.empty(self.out), run.value(self.x)
        k, offset = self.multiplier(value.shape), self._area(value.shape) * value.zero
        for some in run.xp.blocks(len(out), size(value.shape)):
            acc = run.xp.total(x[some], tuple(axis + 1 for axis in self.axes)) - offset
            out[some] = requantize(acc, k, self.c, self.shift, self.lo, self.hi)
        return out
