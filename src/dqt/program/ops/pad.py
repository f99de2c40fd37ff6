"""Zeros around a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.checks import check_range, check_real_zero, check_same_scale
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Pad(Operator):
    """Real zeros (the integer ``zero``) before and after, one pair per dimension after the batch."""

    x: str
    out: str
    before: tuple[int, ...]
    after: tuple[int, ...]

    def output_shape(self, scope: Scope) -> Shape:
        """The input's, so much longer; see :meth:`Operator.output_shape`."""
        x, out = scope.ranked(self.x), scope.values[self.out]
        check_same_scale(x, out)
        check_real_zero(out, scope)
        require(len(self.before) == len(self.after) == len(x.shape), f"need one pair for each dimension of {x.shape}")
        check_range("before", self.before, 0)
        check_range("after", self.after, 0)
        return tuple(a + d + b for a, d, b in zip(self.before, x.shape, self.after, strict=True))

    def run(self, run: Execution) -> Any:
        """The same integers, and those of zero."""
        pairs = ((0, 0), *zip(self.before, self.after, strict=True))
        return run.xp.pad(run.data[self.x], pairs, run.value(self.x).zero)
