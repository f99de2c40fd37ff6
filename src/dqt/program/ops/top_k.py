"""The largest integers along the last dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.checks import check_same_scale
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class TopK(Operator):
    """The ``count`` largest integers along the last dimension, the largest first. Same scale and zero as ``x``."""

    x: str
    out: str
    count: int

    def output_shape(self, scope: Scope) -> Shape:
        """The input's, with ``count`` along the last dimension; see :meth:`Operator.output_shape`."""
        x = scope.ranked(self.x)
        check_same_scale(x, scope.values[self.out])
        require(1 <= self.count <= x.shape[-1], f"count {self.count}, need 1 to {x.shape[-1]}, as many as {x.name} has")
        return (*x.shape[:-1], self.count)

    def run(self, run: Execution) -> Any:
        """Integers are compared as they are: the scale is positive."""
        return run.xp.descending(run.data[self.x])[..., : self.count]
