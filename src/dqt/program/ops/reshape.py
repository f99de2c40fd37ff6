"""Another shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.checks import check_same_scale
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Reshape(Operator):
    """The same integers in the shape of ``out``, row-major."""

    x: str
    out: str

    def output_shape(self, scope: Scope) -> Shape:
        """The declared one, of as many elements; see :meth:`Operator.output_shape`."""
        x, out = scope.values[self.x], scope.values[self.out]
        check_same_scale(x, out)
        require(size(x.shape) == size(out.shape), f"{x.shape} and {out.shape} have different numbers of elements")
        return out.shape

    def run(self, run: Execution) -> Any:
        """The same integers."""
        return run.data[self.x].reshape(-1, *run.value(self.out).shape)
