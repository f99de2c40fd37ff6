"""What one must know of a program to call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.arith.plan import Space
from dqt.program.values import Shape, Value

if TYPE_CHECKING:
    from dqt.program.program import Program


@dataclass(frozen=True)
class Signature:
    """A program without its instructions: all that an engine's caller needs of it.

    Attributes:
        space: every plan that may be passed.
        input: the codes that the float32 input becomes.
        output: the integers that a run ends with.
        input_shape: shape of one float32 sample.
        info: as :attr:`dqt.Program.info`.
    """

    space: Space
    input: Value
    output: Value
    input_shape: Shape
    info: Mapping[str, Any]

    @classmethod
    def of(cls, program: Program) -> Signature:
        """That of a program."""
        values = {value.name: value for value in program.values}
        first = values[program.ops[0].writes() or ""]
        return cls(program.space, first, values[program.output], program.input_shape, program.info)
