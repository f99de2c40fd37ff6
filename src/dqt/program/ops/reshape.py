"""Another shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.checks import check_same_scale
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import MAX_DIM, size
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Reshape(Operator):
    """The same integers in another shape, row-major.

    Attributes:
        shape: without the batch; 0 is the input's dimension at the same place, and one -1 is what is left.
    """

    x: str
    out: str
    shape: tuple[int, ...]

    def output_shape(self, scope: Scope) -> Shape:
        """``shape``, of as many elements as the input; see :meth:`Operator.output_shape`."""
        x = scope.values[self.x]
        check_same_scale(x, scope.values[self.out])
        return reshaped(x.shape, self.shape)

    def run(self, run: Execution) -> Any:
        """The same integers."""
        x = run.data[self.x]
        return x.reshape(len(x), *run.value(self.out).shape)


def reshaped(x: Shape, shape: Shape) -> Shape:
    """What ``shape`` of a :class:`Reshape` means for an input of shape ``x``.

    Raises:
        ProgramError: it is not of as many elements.
    """
    require(all(-1 <= d <= MAX_DIM for d in shape), f"shape {shape}, need dimensions from -1 to {MAX_DIM}")
    require(shape.count(-1) <= 1, f"shape {shape} has -1 more than once")
    copied = [i for i, d in enumerate(shape) if d == 0]
    require(all(i < len(x) for i in copied), f"shape {shape} copies a dimension that {x} does not have")
    known = [x[i] if d == 0 else d for i, d in enumerate(shape)]
    rest, over = divmod(size(x), size(tuple(d for d in known if d != -1)))
    whole = over == 0 and rest >= 1 and (rest == 1 or -1 in known)
    require(whole, f"{x} and {shape} have different numbers of elements")
    return tuple(rest if d == -1 else d for d in known)
