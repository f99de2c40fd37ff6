"""C source in the making: constants, where values lie in the arena, and the calls of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.program.graph import last_reads, needed
from dqt.program.layered import Layered
from dqt.program.operator import Operator
from dqt.program.ops.choose import Choose
from dqt.program.program import Program
from dqt.program.schema import size
from dqt.program.values import Shape, Value

ALIGNMENT = 8
RANK = 8
"""The most dimensions of a value that ops.h walks over."""
TYPES = {"b": "int8_t", "B": "uint8_t", "i": "int32_t", "q": "int64_t", "l": "int64_t", "f": "float"}
"""NumPy's character of a type -> C's name."""


class Code:
    """Constants and calls so far.

    Attributes:
        values: of the program, by name.   places: value, or ``row of OUT`` -> its first byte in the arena.
        arena: bytes of all values that live at a time, as they are placed.
        constants: the definitions of constant arrays.   calls: the statements of a run.
    """

    def __init__(self, program: Program, name: str) -> None:
        self.program, self.name, self.n = program, name, program.space.master
        self.values = {value.name: value for value in program.values}
        self.ops = needed(program.ops, auto=True)
        self.places, self.arena = placed(self._lifetimes())
        self.constants: list[str] = []
        self.calls: list[str] = []
        self._held: dict[tuple[str, bytes], str] = {}

    def _lifetimes(self) -> dict[str, tuple[int, int, int]]:
        """Value -> bytes, its first instruction and its last."""
        found: dict[str, tuple[int, int, int]] = {}
        for i, (op, dead) in enumerate(zip(self.ops, last_reads(self.ops), strict=True)):
            out = op.writes()
            if out is not None:
                found[out] = (_bytes(self.values[out]), i, i)
            if isinstance(op, Layered):
                found[f"row of {out}"] = (size(op.weight.shape[1:]), i, i)
            for name in dead:
                count, first, _ = found[name]
                found[name] = (count, first, i)
        return found

    def constant(self, array: npt.ArrayLike, dtype: Any) -> str:
        """The name of a constant array; equal ones are stored once."""
        held = np.ascontiguousarray(np.asarray(array, dtype=dtype).reshape(-1))
        kind = TYPES[held.dtype.char]
        key = (kind, held.tobytes())
        if key not in self._held:
            name = f"constant_{len(self._held)}"
            self._held[key] = name
            body = ", ".join(map(real if kind == "float" else literal, held.tolist())) or "0"
            self.constants.append(f"static const {kind} {name}[] = {{{body}}};")
        return self._held[key]

    def int32s(self, numbers: Sequence[int]) -> str:
        """A constant array of int32."""
        return self.constant(numbers, np.int32)

    def data(self, name: str) -> str:
        """Where a value, or a row of weights, lies."""
        return f"self->arena.bytes + {self.places[name]}"

    def value(self, name: str) -> str:
        """A value as ops.h takes it."""
        return f"(dqt_value){{{self.data(name)}, {int(not self.values[name].coded)}}}"

    def walk(self, dims: Sequence[int], first: Sequence[int], second: Sequence[int]) -> str:
        """A walk of ops.h."""
        arrays = (self.int32s(part) for part in (dims, first, second))
        return f"&(dqt_walk){{{len(dims)}, {', '.join(arrays)}}}"

    def rounding(self, op: Any) -> str:
        """The last rounding of an operator."""
        return f"(dqt_rounding){{{op.shift}, {literal(op.lo)}, {literal(op.hi)}}}"

    def call(self, function: str, *arguments: object) -> None:
        """Append a call of the library."""
        self.calls.append(f"{function}({', '.join(map(str, arguments))});")


def strides(shape: Shape) -> list[int]:
    """How far the next element of each dimension is, row-major."""
    return [size(shape[i + 1 :]) for i in range(len(shape))]


def spread(shape: Shape, rank: int) -> list[int]:
    """Strides in a walk over ``rank`` dimensions over which it broadcasts: 0 where it has 1 element for all."""
    far = [0 if d == 1 else step for d, step in zip(shape, strides(shape), strict=True)]
    return [0] * (rank - len(shape)) + far


def real(number: float) -> str:
    """A float32 number as C writes it, exactly."""
    return f"{number.hex()}f"


def literal(number: int) -> str:
    """An integer as C writes it, in the smallest type of int32 and int64 that holds it."""
    if -(1 << 31) < number < 1 << 31:
        return str(number)
    return f"INT64_C({number})" if number > -(1 << 63) else "INT64_MIN"


def placed(lifetimes: dict[str, tuple[int, int, int]]) -> tuple[dict[str, int], int]:
    """The first byte of each value, the largest placed first where it finds room, and the bytes of all."""
    places: dict[str, int] = {}
    for name in sorted(lifetimes, key=lambda each: (-lifetimes[each][0], lifetimes[each][1])):
        count, first, last = lifetimes[name]
        at = 0
        others = (other for other in places if lifetimes[other][1] <= last and first <= lifetimes[other][2])
        for start, end in sorted((places[o], places[o] + lifetimes[o][0]) for o in others):
            if at + count <= start:
                break
            at = max(at, -(-end // ALIGNMENT) * ALIGNMENT)
        places[name] = at
    return places, max((places[name] + lifetimes[name][0] for name in places), default=1)


def for_choice(op: Operator, always: frozenset[int]) -> bool:
    """Whether an instruction serves the choice of widths alone."""
    return isinstance(op, Choose) or id(op) not in always


def _bytes(value: Value) -> int:
    return size(value.shape) * (1 if value.coded else 4)
