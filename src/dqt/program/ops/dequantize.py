"""The one exit to float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Dequantize(Operator):
    """``float32(q - zero) * float32(step)``. A run ends with the integers; who asked for it dequantizes them."""

    x: str

    def output_shape(self, scope: Scope) -> Shape:
        """That of what it reads; see :meth:`Operator.output_shape`."""
        return scope.values[self.x].shape

    def run(self, run: Execution) -> Any:
        """The integers, before they become floats."""
        return run.data[self.x]
