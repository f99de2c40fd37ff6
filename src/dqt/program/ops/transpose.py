"""Another order of dimensions."""

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
class Transpose(Operator):
    """The same integers with dimensions in another order: dimension ``i`` of ``out`` is ``axes[i]`` of ``x``.

    Dimension 0 is the first after the batch, which stays where it is.
    """

    x: str
    out: str
    axes: tuple[int, ...]

    def output_shape(self, scope: Scope) -> Shape:
        """The input's, in that order; see :meth:`Operator.output_shape`."""
        x = scope.ranked(self.x)
        check_same_scale(x, scope.values[self.out])
        each_once = sorted(self.axes) == list(range(len(x.shape)))
        require(each_once, f"axes {self.axes}, need each of 0 to {len(x.shape) - 1} once")
        return tuple(x.shape[axis] for axis in self.axes)

    def run(self, run: Execution) -> Any:
        """The same integers."""
        return run.xp.permute(run.data[self.x], (0, *(axis + 1 for axis in self.axes)))
