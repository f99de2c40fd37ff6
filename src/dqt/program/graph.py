"""A program as a graph: what each instruction reads and writes, which of them a run needs, what a layer counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dqt.arith.nested import limits
from dqt.arith.plan import Layer, Space
from dqt.program.ops import Add, Choose, Concat, Conv, Dequantize, Linear, Multiply, Op, Quantize, Value
from dqt.program.program import ProgramError
from dqt.program.schema import size

if TYPE_CHECKING:
    from dqt.program.program import Program

INPUT = "input"
"""What the one ``Quantize`` reads: the float32 sample, no value of the program."""

Shape: TypeAlias = tuple[int, ...]
Layered: TypeAlias = Conv | Linear


def require(legal: bool, message: str) -> None:
    """Raise ProgramError with ``message`` unless ``legal``."""
    if not legal:
        raise ProgramError(message)


@dataclass(frozen=True)
class Scope:
    """What the rule or the proof of an instruction may look at."""

    space: Space
    values: Mapping[str, Value]
    input_shape: Shape
    controller: frozenset[str]

    @classmethod
    def of(cls, program: Program) -> Scope:
        """The scope of a program's instructions."""
        values = {value.name: value for value in program.values}
        own = frozenset(layer.name for layer in program.space.controller)
        return cls(program.space, values, program.input_shape, own)

    def codes(self, name: str) -> Value:
        """An input that must be codes.

        Raises:
            ProgramError: it is a wide value, or has no dimension.
        """
        wide = self.values[name].wide
        require(not wide, f"reads the wide value {name}: only Reshape, Slice, Choose and Dequantize may")
        return self.ranked(name)

    def ranked(self, name: str) -> Value:
        """An input that must have a dimension.

        Raises:
            ProgramError: it has none.
        """
        require(bool(self.values[name].shape), f"reads {name}, which has no dimension: only Reshape and Dequantize may")
        return self.values[name]

    @property
    def highest(self) -> int:
        """The largest code, ``2^n - 1``."""
        return limits(self.space.master, signed=False)[1]

    def widths(self, layer: str) -> tuple[int, ...]:
        """The widths that a layer may run at: all, or for the controller's own layers the master alone."""
        return (self.space.master,) if layer in self.controller else self.space.widths


def reads(op: Op) -> tuple[str, ...]:
    """Names of the values that ``op`` reads."""
    if isinstance(op, Quantize):
        return ()
    if isinstance(op, Concat):
        return op.xs
    return (op.a, op.b) if isinstance(op, Add | Multiply) else (op.x,)


def writes(op: Op) -> str | None:
    """Name of the value that ``op`` defines; ``None`` for ``Choose`` and ``Dequantize``."""
    return None if isinstance(op, Choose | Dequantize) else op.out


def title(index: int, op: Op) -> str:
    """How messages name an instruction: position, operator, and layer or output."""
    name = op.layer if isinstance(op, Layered) else writes(op)
    return f"op {index} {type(op).__name__}" + (f" '{name}'" if name else "")


def needed(ops: Sequence[Op], *, auto: bool) -> tuple[Op, ...]:
    """The instructions that a run executes, in order: those that lead to the output and, if ``auto``, to ``Choose``."""
    live: set[str] = set()
    kept: list[Op] = []
    for op in reversed(ops):
        if isinstance(op, Dequantize) or (auto and isinstance(op, Choose)) or writes(op) in live:
            live.update(reads(op))
            kept.append(op)
    return tuple(reversed(kept))


def last_reads(ops: Sequence[Op]) -> tuple[tuple[str, ...], ...]:
    """For each instruction, the values that no later one reads: they are freed after it."""
    seen: set[str] = set()
    dead: list[tuple[str, ...]] = []
    for op in reversed(ops):
        names = dict.fromkeys(name for name in reads(op) if name not in seen)
        dead.append(tuple(names))
        seen.update(names)
    return tuple(reversed(dead))


def layer_of(op: Layered, values: Mapping[str, Value], *, edge: bool = False) -> Layer:
    """What the plan space says of a layer, counted from its instruction.

    ``macs`` are those of a dense loop: outputs times taps, padding included; ``inputs`` and ``outputs`` are elements.
    """
    outputs = size(values[op.out].shape)
    taps = size(op.weight.shape[1:])
    return Layer(op.layer, outputs * taps, op.weight.size, size(values[op.x].shape), outputs, edge)
