"""A tensor that is the same for every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import check_shape
from dqt.program.values import Shape, UInt8

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Constant(Operator):
    """Codes that do not depend on the input: positions, tokens that every sample has. ``data``: uint8, its shape."""

    out: str
    data: UInt8

    def output_shape(self, scope: Scope) -> Shape:
        """That of the data; see :meth:`Operator.output_shape`."""
        scope.narrow(self.out)
        check_shape(self.data.shape, "data")
        require(int(self.data.max()) <= scope.highest, f"a code is above {scope.highest}")
        return self.data.shape

    def run(self, run: Execution) -> Any:
        """The codes, for each sample."""
        return run.xp.repeat(run.constant((self.out,), lambda: run.xp.constant(self.data)), len(run.x))
