"""Rows of a table, by index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.arith.fixed import requantize
from dqt.program.checks import check_rounding, prove_product
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import check_shape, size
from dqt.program.values import Int8, Int32, Int64, Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Embedding(Operator):
    """Row ``q`` of a table for each index ``q`` of ``x``: ``clamp((m * table[q] + c) >> shift, lo, hi)``.

    Attributes:
        x: integers in ``[0, rows - 1]``, scale 1.
        table: int8 ``[rows, features]``.
        m: int32 ``[1]``, or ``[rows]``: each row has a scale of its own.   c: int64 of the same shape.
    """

    x: str
    out: str
    table: Int8
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int

    def output_shape(self, scope: Scope) -> Shape:
        """The input's, with the features of a row; see :meth:`Operator.output_shape`."""
        check_rounding(self, scope)
        x = scope.ranked(self.x)
        require(self.table.ndim == 2, f"table of shape {self.table.shape}, need [rows, features]")
        check_shape(self.table.shape, "table")
        rows, features = self.table.shape
        inside = x.lo >= 0 and x.hi < rows and x.zero == 0 and x.scale == 1
        require(inside, f"reads {x.name} in [{x.lo}, {x.hi}], need indices in [0, {rows - 1}] of scale 1, zero 0")
        legal = self.m.shape in ((1,), (rows,)) and self.c.shape == self.m.shape
        require(legal, f"m, c of shapes {self.m.shape}, {self.c.shape}: need (1,) or ({rows},)")
        return (*x.shape, features)

    def prove(self, scope: Scope) -> None:
        """See :meth:`Operator.prove`."""
        reach = np.full(len(self.m), 128, dtype=np.int64)
        prove_product(-reach, reach, self.m, self.c, "")

    def run(self, run: Execution) -> Any:
        """Integers (docs/numerics.md, equation 8)."""
        x, out, xp = run.data[self.x], run.empty(self.out), run.xp
        table, m, c = (self._constant(run, name) for name in ("table", "m", "c"))
        for some in xp.blocks(len(out), size(out.shape[1:])):
            q = xp.int64(x[some])
            row = q if len(self.m) > 1 else q * 0
            k, offset = (xp.int64(xp.look_up(each, row))[..., None] for each in (m, c))
            out[some] = requantize(xp.int64(xp.look_up(table, q)), k, offset, self.shift, self.lo, self.hi)
        return out

    def _constant(self, run: Execution, name: str) -> Any:
        return run.constant((self.out, name), lambda: run.xp.constant(getattr(self, name)))
