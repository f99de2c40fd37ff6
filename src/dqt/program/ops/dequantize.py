"""The exit to float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Dequantize(Operator):
    """An output by name: ``float32(q - zero) * float32(scale)``. A run ends with the integers ``q``."""

    x: str
    name: str

    def output_shape(self, scope: Scope) -> Shape:
        """That of what it reads; see :meth:`Operator.output_shape`."""
        return scope.values[self.x].shape

    def run(self, run: Execution) -> Any:
        """The integers, before they become floats."""
        run.outputs[self.name] = run.data[self.x]
        return run.data[self.x]
