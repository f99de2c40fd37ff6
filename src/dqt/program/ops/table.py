"""Elementwise nonlinearity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape, UInt8

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Table(Operator):
    """Elementwise nonlinearity: ``table[q]``, uint8 ``[2^n]``."""

    x: str
    out: str
    table: UInt8

    def output_shape(self, scope: Scope) -> Shape:
        """The input's; see :meth:`Operator.output_shape`."""
        x = scope.codes(self.x)
        scope.narrow(self.out)
        entries = scope.highest + 1
        require(self.table.shape == (entries,), f"table of shape {self.table.shape}, need [{entries}]")
        require(int(self.table.max()) <= scope.highest, f"a table entry is above {scope.highest}")
        return x.shape

    def run(self, run: Execution) -> Any:
        """Codes."""
        return run.xp.look_up(run.constant((self.out,), lambda: run.xp.constant(self.table)), run.data[self.x])
