"""Multiply-add by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.arith.fixed import requantize
from dqt.program.checks import check_rounding, prove_product
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import Int32, Int64, Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Rescale(Operator):
    """Per-channel multiply-add, ``clamp((m*q + c) >> shift, lo, hi)``.

    ``m``: int32 ``[C]`` along the first dimension, or ``[1]`` for all; ``c``: int64 of the same shape.
    """

    x: str
    out: str
    m: Int32
    c: Int64
    shift: int
    lo: int
    hi: int

    def output_shape(self, scope: Scope) -> Shape:
        """The input's; see :meth:`Operator.output_shape`."""
        check_rounding(self, scope)
        x = scope.ranked(self.x)
        shapes = ((1,), x.shape[:1])
        legal = self.m.shape in shapes and self.c.shape == self.m.shape
        require(legal, f"m, c of shapes {self.m.shape}, {self.c.shape}: need one of {shapes}")
        return x.shape

    def prove(self, scope: Scope) -> None:
        """See :meth:`Operator.prove`."""
        x, none = scope.values[self.x], np.zeros(len(self.m), dtype=np.int64)
        prove_product(none + x.lo, none + x.hi, self.m, self.c, "")

    def run(self, run: Execution) -> Any:
        """Integers (docs/numerics.md, equation 8)."""
        x, out, xp = run.data[self.x], run.empty(self.out), run.xp
        shape = (-1, *(1,) * (x.ndim - 2))
        m = run.constant((self.out, "m"), lambda: xp.constant(self.m.astype(np.int64).reshape(shape)))
        c = run.constant((self.out, "c"), lambda: xp.constant(self.c.reshape(shape)))
        for some in xp.blocks(len(out), size(out.shape[1:])):
            out[some] = requantize(xp.int64(x[some]), m, c, self.shift, self.lo, self.hi)
        return out
