"""The largest integer along some dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.checks import check_axes, check_same_scale
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Max(Operator):
    """The largest integer along ``axes``, ascending, which are 1 long afterwards. Same scale and zero as ``x``.

    Axis 0 is the first dimension after the batch.
    """

    x: str
    out: str
    axes: tuple[int, ...]

    def output_shape(self, scope: Scope) -> Shape:
        """The input's, with 1 along the axes; see :meth:`Operator.output_shape`."""
        x = scope.ranked(self.x)
        check_same_scale(x, scope.values[self.out])
        return check_axes(x, self.axes)

    def run(self, run: Execution) -> Any:
        """Integers are compared as they are: the scale is positive."""
        return run.xp.largest(run.data[self.x], tuple(axis + 1 for axis in self.axes))
