"""The entry of integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import INTEGER, Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Read(Operator):
    """The integers of an integer input, such as tokens, as they are: a value of scale 1 with the input's interval."""

    OPERANDS: ClassVar[tuple[str, ...]] = ()  # ``x`` is an input of the program, which is no value of it

    x: str
    out: str

    def output_shape(self, scope: Scope) -> Shape:
        """The input's; see :meth:`Operator.output_shape`."""
        given, out = scope.input(self.x, INTEGER), scope.values[self.out]
        need = (1.0, 0, given.lo, given.hi)
        same = (out.scale, out.zero, out.lo, out.hi) == need
        require(same, f"{out.name} must have scale, zero, lo and hi {need}, as the input {given.name}")
        return given.shape

    def run(self, run: Execution) -> Any:
        """The same integers, in the type of the value."""
        out = run.empty(self.out)
        out[:] = run.inputs[self.x]
        return out
