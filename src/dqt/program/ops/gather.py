"""Elements of one dimension, picked by index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.checks import check_same_scale
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import check_shape
from dqt.program.values import Int32, Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Gather(Operator):
    """The same integers in any order and number along ``axis``: index ``j`` of ``out`` is ``indices[j]`` of ``x``.

    Axis 0 is the first dimension after the batch. ``indices``: int32 ``[count]``.
    """

    x: str
    out: str
    axis: int
    indices: Int32

    def output_shape(self, scope: Scope) -> Shape:
        """The input's, as long along the axis as there are indices; see :meth:`Operator.output_shape`."""
        x, axis = scope.ranked(self.x), self.axis
        check_same_scale(x, scope.values[self.out])
        require(0 <= axis < len(x.shape), f"axis {axis}, need 0 to {len(x.shape) - 1}")
        require(self.indices.ndim == 1, f"indices of shape {self.indices.shape}, need [count]")
        check_shape(self.indices.shape, "indices")
        length = x.shape[axis]
        inside = int(self.indices.min()) >= 0 and int(self.indices.max()) < length
        require(inside, f"an index is not in [0, {length - 1}], the places of {x.name} along axis {axis}")
        return (*x.shape[:axis], len(self.indices), *x.shape[axis + 1 :])

    def rebound(self, scope: Scope) -> Operator:
        """Its indices are those of a dimension of one size; see :meth:`Operator.rebound`."""
        before, now = (values[self.x].shape[self.axis] for values in (scope.before, scope.values))
        require(now == before, f"its indices are those of a dimension of {before}, which would become {now}")
        return self

    def run(self, run: Execution) -> Any:
        """The same integers."""
        indices = run.constant((self.out,), lambda: run.xp.constant(self.indices))
        return run.xp.look_up(run.data[self.x], indices, self.axis + 1)
