"""C source in the making: constants, where values lie, and the calls of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.plan import Plan
from dqt.export.c99.arena import placed
from dqt.export.c99.layout import channels_last, merged, order, strides
from dqt.program.graph import DECISIONS, needed
from dqt.program.operator import Operator
from dqt.program.program import Program

RANK = 8
"""The most dimensions of a value that ops.h walks over."""
TYPES = {
    "b": "int8_t", "B": "uint8_t", "i": "int32_t", "I": "uint32_t", "H": "uint16_t", "q": "int64_t", "l": "int64_t",
    "f": "float",
}  # fmt: skip
"""NumPy's character of a type -> C's name."""


class Code:
    """Constants and calls so far.

    Attributes:
        plan: the only widths that are written; ``None``: all of them.
        values: of the program, by name.   last: those whose channels lie side by side.
        places: value, or ``row of OUT`` -> its first byte in the arena.   arena: bytes of all values that live at a
            time, as they are placed.
        constants: the definitions of constant arrays.   calls: the statements of a run.
    """

    def __init__(self, program: Program, name: str, plan: Plan | None = None) -> None:
        self.program, self.name, self.n, self.plan = program, name, program.space.master, plan
        self.values = {value.name: value for value in program.values}
        self.ops = needed(program.ops, auto=plan is None and program.space.automatic)
        self.last = channels_last(self.values, self.ops)
        self.places: dict[str, int] = {}
        self.arena = 1
        self.constants: list[str] = []
        self.calls: list[str] = []
        self._held: dict[tuple[str, Any], str] = {}

    def place(self, scratch: dict[str, int]) -> None:
        """Give every value its place; ``scratch``: value -> bytes that its instruction needs beside it."""
        self.places, self.arena = placed(self.values, self.last, self.ops, scratch)

    def constant(self, array: npt.ArrayLike, dtype: Any) -> str:
        """The name of a constant array; equal ones are stored once."""
        held = np.ascontiguousarray(np.asarray(array, dtype=dtype).reshape(-1))
        kind = TYPES[held.dtype.char]
        written = {"float": real, "uint32_t": word}.get(kind, literal)
        return self.held(kind, held.tobytes(), lambda: ", ".join(map(written, held.tolist())) or "0")

    def held(self, kind: str, key: Any, body: Any) -> str:
        """The name of a constant array of a type; arrays of equal keys are stored once."""
        if (kind, key) not in self._held:
            name = f"constant_{len(self._held)}"
            self._held[kind, key] = name
            self.constants.append(f"static const {kind} {name}[] = {{{body()}}};")
        return self._held[kind, key]

    def struct(self, kind: str, *parts: object) -> str:
        """The address of a constant structure; equal ones are stored once."""
        body = f"{{{', '.join(map(str, parts))}}}"
        return self.held(kind, body, lambda: body)

    def strides(self, name: str) -> list[int]:
        """How far the next element of each dimension of a value is."""
        return strides(self.values[name].shape, name in self.last)

    def data(self, name: str) -> str:
        """Where a value, or a row of weights, lies."""
        return f"self->arena.bytes + {self.places[name]}"

    def value(self, name: str) -> str:
        """A value as ops.h takes it."""
        return f"(dqt_value){{{self.data(name)}, {int(not self.values[name].coded)}}}"

    def walk(self, dims: Sequence[int], first: Sequence[int], second: Sequence[int]) -> str:
        """A walk of ops.h."""
        arrays = merged(dims, first, second)
        return self.struct("dqt_walk", len(arrays[0]), *(self.constant(part, np.int32) for part in arrays))

    def over(self, name: str, first: Sequence[int], second: Sequence[int] = ()) -> str:
        """A walk over the elements of a value as they lie in memory."""
        shape = self.values[name].shape
        axes = order(shape, name in self.last)
        parts = (shape, first, second or [0] * len(shape))
        return self.walk(*([part[axis] for axis in axes] for part in parts))

    def rounding(self, op: Any, *, typed: bool = True) -> str:
        """The last rounding of an operator; inside of a structure it needs no type."""
        return f"{'(dqt_rounding)' * typed}{{{op.shift}, {literal(op.lo)}, {literal(op.hi)}}}"

    def call(self, function: str, *arguments: object) -> None:
        """Append a call of the library."""
        self.calls.append(f"{function}({', '.join(map(str, arguments))});")


def real(number: float) -> str:
    """A float32 number as C writes it, exactly."""
    return f"{number.hex()}f"


def word(number: int) -> str:
    """32 bits as C writes them."""
    return f"{number:#x}u"


def literal(number: int) -> str:
    """An integer as C writes it, in the smallest type of int32 and int64 that holds it."""
    if -(1 << 31) < number < 1 << 31:
        return str(number)
    return f"INT64_C({number})" if number > -(1 << 63) else "INT64_MIN"


def for_choice(op: Operator, always: frozenset[int]) -> bool:
    """Whether an instruction serves the choice of widths alone."""
    return isinstance(op, DECISIONS) or id(op) not in always
