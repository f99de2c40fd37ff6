"""Instructions that are layers of the width plan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dqt.arith.bounds import Bound
from dqt.arith.plan import Layer
from dqt.program.operator import Operator, Scope
from dqt.program.values import Value

if TYPE_CHECKING:
    from dqt.program.program import Program


@dataclass(frozen=True)
class Planned(Operator):
    """A sum of products whose operands run at a pair of widths, which a plan gives to ``layer``."""

    layer: str

    @abstractmethod
    def counts(self, values: Mapping[str, Value], *, edge: bool = False) -> Layer:
        """What the plan space says of the layer, counted from its instruction.

        ``macs`` are those of a dense loop: outputs times taps, padding included; ``inputs`` and ``outputs`` are
        elements.
        """

    @abstractmethod
    def bounds(self, scope: Scope) -> Iterator[tuple[int, Bound]]:
        """Widths and the accumulator's bound at each; together they bound it at every width that it may run at."""


def accumulator_bits(program: Program) -> dict[str, int]:
    """Layer -> two's complement bits that hold every accumulator it can produce, at any of its widths."""
    scope = Scope.of(program)
    layers = (op for op in program.ops if isinstance(op, Planned))
    return {op.layer: max(bound.bits for _, bound in op.bounds(scope)) for op in layers}
