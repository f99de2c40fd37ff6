"""Average pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.arith.bounds import INT32
from dqt.arith.fixed import requantize
from dqt.program.checks import check_rounding, prove_product, prove_within
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import Int32, Int64, Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class AvgPool(Operator):
    """Window sums, requantized: ``acc = sum (q - zero)`` over ``rows[i] x columns[j]`` of a ``(C, H, W)`` value.

    ``m`` int32 and ``c`` int64 are ``[1, 1]`` or ``[OH, OW]`` (the divisor may depend on the window).

    Attributes:
        rows: int32 ``[OH, 2]``, the half-open range ``[first, last)`` of input rows of each output row, clipped to
            the input.   columns: int32 ``[OW, 2]``.
    """

    x: str
    out: str
    rows: Int32
    columns: Int32
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int

    def output_shape(self, scope: Scope) -> Shape:
        """``(C, OH, OW)``; see :meth:`Operator.output_shape`."""
        check_rounding(self, scope)
        x = scope.ranked(self.x)
        require(len(x.shape) == 3, f"reads {x.name} of shape {x.shape}, need (C, H, W)")
        for name, ranges, length in (("rows", self.rows, x.shape[1]), ("columns", self.columns, x.shape[2])):
            require(ranges.ndim == 2 and ranges.shape[1] == 2, f"{name} of shape {ranges.shape}, need [count, 2]")
            first, last = ranges[:, 0], ranges[:, 1]
            inside = (first >= 0) & (first < last) & (last <= length)
            require(bool(inside.all()), f"{name}: a window is empty or not inside [0, {length}]")
        windows = (len(self.rows), len(self.columns))
        legal = self.m.shape in ((1, 1), windows) and self.c.shape == self.m.shape
        require(legal, f"m, c of shapes {self.m.shape}, {self.c.shape}: need (1, 1) or {windows}")
        return (x.shape[0], *windows)

    def prove(self, scope: Scope) -> None:
        """See :meth:`Operator.prove`."""
        x = scope.values[self.x]
        lo, hi = x.lo - x.zero, x.hi - x.zero
        area = int(np.ptp(self.rows, axis=1).max()) * int(np.ptp(self.columns, axis=1).max())
        prove_within(area * max(abs(lo), abs(hi)), INT32, f"the sum over a window of {area} integers")
        sums = np.array([area * lo]), np.array([area * hi])
        prove_product(*sums, self.m.reshape(-1, 1), self.c.reshape(-1, 1), "")

    def rebound(self, scope: Scope) -> Operator:
        """Its windows lie in an input of one size; see :meth:`Operator.rebound`."""
        before, now = scope.before[self.x].shape, scope.values[self.x].shape
        require(now == before, f"its windows are those of an input of {before}, which would become {now}")
        return self

    def run(self, run: Execution) -> Any:
        """Window sums as differences of running sums, exact in int64; then equation 8 of docs/numerics.md."""
        x, out, xp = run.data[self.x], run.empty(self.out), run.xp
        zero = run.value(self.x).zero
        m = run.constant((self.out, "m"), lambda: xp.constant(self.m.astype(np.int64)))
        c = run.constant((self.out, "c"), lambda: xp.constant(self.c))
        for some in xp.blocks(len(out), size(x.shape[1:])):
            acc = xp.int64(x[some]) - zero
            for axis, ranges in ((2, self.rows), (3, self.columns)):
                running = xp.pad(acc.cumsum(axis), [(1, 0) if i == axis else (0, 0) for i in range(4)])
                first, last = (self._ends(run, axis, ranges, side) for side in (0, 1))
                acc = xp.look_up(running, last, axis) - xp.look_up(running, first, axis)
            out[some] = requantize(acc, m, c, self.shift, self.lo, self.hi)
        return out

    def _ends(self, run: Execution, axis: int, ranges: Int32, side: int) -> Any:
        return run.constant((self.out, axis, side), lambda: run.xp.constant(ranges[:, side].astype(np.int64)))
