"""Join of values."""

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
class Concat(Operator):
    """Values of equal scale and zero, joined along ``axis`` (0 is the first dimension after the batch)."""

    xs: tuple[str, ...]
    out: str
    axis: int

    def output_shape(self, scope: Scope) -> Shape:
        """The first one's, as long along the axis as all together; see :meth:`Operator.output_shape`."""
        require(len(self.xs) > 0, "joins nothing: xs is empty")
        xs, axis = [scope.ranked(name) for name in self.xs], self.axis
        first = xs[0].shape
        require(0 <= axis < len(first), f"axis {axis}, need 0 to {len(first) - 1}")
        for x in xs:
            check_same_scale(x, scope.values[self.out])
            rest = (*x.shape[:axis], *x.shape[axis + 1 :])
            same = len(x.shape) == len(first) and rest == (*first[:axis], *first[axis + 1 :])
            require(same, f"{x.name} of shape {x.shape} does not join {first} along axis {axis}")
        return (*first[:axis], sum(x.shape[axis] for x in xs), *first[axis + 1 :])

    def run(self, run: Execution) -> Any:
        """The same integers."""
        return run.xp.concatenate([run.data[name] for name in self.xs], self.axis + 1)
