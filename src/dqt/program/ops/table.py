"""Elementwise nonlinearity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import Shape, UInt8

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Table(Operator):
    """Elementwise nonlinearity: ``table[q]``, uint8 ``[2^n]``; or ``table[c, q]``, ``[C, 2^n]``, by first dimension."""

    x: str
    out: str
    table: UInt8

    def output_shape(self, scope: Scope) -> Shape:
        """The input's; see :meth:`Operator.output_shape`."""
        x = scope.codes(self.x)
        scope.narrow(self.out)
        entries = scope.highest + 1
        legal = self.table.shape in ((entries,), (x.shape[0], entries))
        require(legal, f"table of shape {self.table.shape}, need [{entries}] or [{x.shape[0]}, {entries}]")
        require(int(self.table.max()) <= scope.highest, f"a table entry is above {scope.highest}")
        return x.shape

    def run(self, run: Execution) -> Any:
        """Codes."""
        x, xp = run.data[self.x], run.xp
        table = run.constant((self.out,), lambda: xp.constant(self.table.reshape(-1)))
        if self.table.ndim == 1:
            return xp.look_up(table, x)
        out, channels = run.empty(self.out), np.arange(len(self.table)) * self.table.shape[1]
        shape = (-1, *(1,) * (x.ndim - 2))
        first = run.constant((self.out, "first"), lambda: xp.constant(channels.reshape(shape)))
        for some in xp.blocks(len(out), size(out.shape[1:])):
            out[some] = xp.look_up(table, xp.int64(x[some]) + first)
        return out
