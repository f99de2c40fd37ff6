"""Images in another size, by linear interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.arith.resize import between, neighbours, resized
from dqt.program.checks import check_range, check_same_scale
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Resize(Operator):
    """Bilinear interpolation of ``(C, H, W)`` in integers (docs/numerics.md, equations 31 to 33). Keeps scale and zero.

    Attributes:
        size: rows and columns of the result; 0: as many as the input has, times ``b / a`` of ``steps``, rounded down.
        steps: ``a, b`` of rows, then of columns: the distance from one output to the next is ``a / b`` inputs; with
            ``a`` 0 it is the ratio of the sizes. Not used with ``corners``, but for a ``size`` of 0.
        corners: whether the outer outputs lie on the outer inputs; otherwise the outer edges of these coincide.
    """

    x: str
    out: str
    size: tuple[int, int]
    steps: tuple[int, int, int, int]
    corners: bool

    def output_shape(self, scope: Scope) -> Shape:
        """``(C, OH, OW)``; see :meth:`Operator.output_shape`."""
        x = scope.ranked(self.x)
        check_same_scale(x, scope.values[self.out])
        require(len(x.shape) == 3, f"reads {x.name} of shape {x.shape}, need (C, H, W)")
        check_range("size", self.size, 0)
        check_range("steps", self.steps, 0)
        for side, above, below in zip(self.size, self.steps[::2], self.steps[1::2], strict=True):
            both = (above == 0) == (below == 0) and (side > 0 or above > 0)
            require(both, f"size {self.size}, steps {self.steps}: need a size, or a step a / b of two positive numbers")
        return (x.shape[0], *self.sides(x.shape))

    def sides(self, shape: Shape) -> tuple[int, int]:
        """Rows and columns of the result for an input of ``shape``."""
        rows, columns = (self.size[i] or shape[1 + i] * self.steps[2 * i + 1] // self.steps[2 * i] for i in (0, 1))
        return rows, columns

    def run(self, run: Execution) -> Any:
        """Rows, then columns, then one rounding; exact in int64."""
        x, out, xp = run.data[self.x], run.empty(self.out), run.xp
        for some in xp.blocks(len(out), 2 * size(out.shape[1:])):
            acc = xp.int64(x[some])
            for axis in (2, 3):
                first, second, weight = (self._constant(run, axis, part) for part in range(3))
                acc = between(xp.look_up(acc, first, axis), xp.look_up(acc, second, axis), weight)
            out[some] = resized(acc)
        return out

    def _constant(self, run: Execution, axis: int, part: int) -> Any:
        def made() -> Any:
            side = axis - 2
            inputs, outputs = run.value(self.x).shape[1 + side], run.value(self.out).shape[1 + side]
            step = (self.steps[2 * side], self.steps[2 * side + 1])
            numbers = neighbours(inputs, outputs, step, corners=self.corners)[part]
            return run.xp.constant(numbers.reshape(-1, 1) if (part, axis) == (2, 2) else numbers)

        return run.constant((self.out, axis, part), made)
