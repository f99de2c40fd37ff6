"""What a program is made of beside instructions: tensors of integers, inputs, outputs, states, named dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import INT32
from dqt.arith.nested import limits
from dqt.arith.plan import Space
from dqt.program.errors import require
from dqt.program.schema import OPTIONAL, check_shape

Shape: TypeAlias = tuple[int, ...]
Int8 = npt.NDArray[np.int8]
UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Names: TypeAlias = tuple[Annotated[str, OPTIONAL], ...]
"""The name of each dimension after the batch, or "" of one whose size is fixed; () if all are."""

INPUT, OUTPUT = "input", "output"
"""Names of the input and of the output of a program that has one of each and names neither."""
FLOAT, INTEGER = "float", "integer"
"""Kinds of an input."""
SCALE_MIN, SCALE_MAX = 2.0**-100, 2.0**100
"""Scales lie between, so that a scale and its inverse are normal float32 numbers."""
FARTHEST_ZERO = 2**15
"""The largest magnitude of a zero point: beyond the codes it may lie, but not so far that float32 loses it."""
MOST_INPUT = 2**31 - 1


@dataclass(frozen=True)
class Value:
    """One tensor of the program: the real numbers ``scale * (q - zero)``, without its batch dimension.

    ``q`` lies in ``[lo, hi]``, which tells two kinds apart. *Codes* have ``[0, 2^n - 1]``, the range of the master (or
    ``[0, hi]`` inside of it, as few tokens have), and any zero point of at most ``2^15`` in magnitude. *Integers* have
    any other interval within int32 and ``zero = 0``: an output before its dequantization, a residual stream.
    """

    name: str
    shape: Shape
    scale: float
    zero: int
    lo: int
    hi: int

    @property
    def coded(self) -> bool:
        """Whether these are codes."""
        return self.lo == 0 and self.hi <= 255

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """The smallest of uint8, int16 and int32 that holds ``[lo, hi]``."""
        return np.dtype(next(t for t in (np.uint8, np.int16, np.int32) if _holds(t, self.lo, self.hi)))

    @property
    def reach(self) -> int:
        """The largest magnitude of an integer."""
        return max(-self.lo, self.hi)


@dataclass(frozen=True)
class Input:
    """What a program is given under a name.

    Attributes:
        shape: of one sample, without the batch.
        kind: "float": float32 numbers, for ``Quantize``; "integer": int64 in ``[lo, hi]``, for ``Read``.
        lo, hi: of an integer input; 0 of a float input.
        dims: the name of each dimension that may be bound to another size, "" of the others; () for none.
    """

    name: str
    shape: Shape
    kind: str = FLOAT
    lo: int = 0
    hi: int = 0
    dims: Names = ()

    @property
    def pattern(self) -> tuple[int | None, ...]:
        """The shape, with ``None`` where a dimension has a name: any size of its range is taken."""
        return pattern_of(self)


@dataclass(frozen=True)
class Output:
    """An output by name, and the name of the value whose integers it is."""

    name: str
    value: str


@dataclass(frozen=True)
class State:
    """Integers that live from one run to the next; they start as the real 0, ``q = zero``. Fields as of a value."""

    name: str
    shape: Shape
    scale: float
    zero: int
    lo: int
    hi: int
    dims: Names = ()

    @property
    def pattern(self) -> tuple[int | None, ...]:
        """The shape, with ``None`` where a dimension has a name."""
        return pattern_of(self)

    def as_value(self, name: str) -> Value:
        """The value of this name that holds it."""
        return Value(name, self.shape, self.scale, self.zero, self.lo, self.hi)


@dataclass(frozen=True)
class Dimension:
    """A dimension beside the batch that is bound where a program is called: a size from ``least`` to ``most``."""

    name: str
    least: int
    most: int


Part = TypeVar("Part", Input, State)


def check_value(value: Value, space: Space, what: str = "value") -> None:
    """Check a value by itself: a shape that can be allocated, a usable scale, an interval and zero point of its kind.

    Raises:
        ProgramError: one of them is not legal.
    """
    where = f"{what} {value.name}"
    if value.shape:  # of no dimension, a value is one number for each sample
        check_shape(value.shape, where)
    require(SCALE_MIN <= value.scale <= SCALE_MAX, f"{where}: scale {value.scale} is not in [2^-100, 2^100]")
    within = -INT32 <= value.lo <= value.hi <= INT32
    require(within, f"{where}: its interval [{value.lo}, {value.hi}] is empty or beyond int32")
    if value.coded:
        most = limits(space.master, signed=False)[1]
        require(value.hi <= most, f"{where}: codes of {space.master} bits lie in [0, {most}], not in [0, {value.hi}]")
        far = f"{where}: zero {value.zero}, need -{FARTHEST_ZERO} to {FARTHEST_ZERO}"
        require(abs(value.zero) <= FARTHEST_ZERO, far)
    else:
        require(value.zero == 0, f"{where}: zero {value.zero}, need 0: only codes have another zero point")


def check_input(given: Input) -> None:
    """Check an input by itself.

    Raises:
        ProgramError: a shape that cannot be allocated, an unknown kind, or an interval that is not one of its kind.
    """
    where = f"input {given.name}"
    check_shape(given.shape, where)
    require(given.kind in (FLOAT, INTEGER), f"{where}: kind {given.kind!r}, need {FLOAT!r} or {INTEGER!r}")
    if given.kind == FLOAT:
        require(given.lo == given.hi == 0, f"{where}: a float input has no interval, so lo and hi are 0")
    else:
        legal = -MOST_INPUT <= given.lo <= given.hi <= MOST_INPUT
        require(legal, f"{where}: its interval [{given.lo}, {given.hi}] is empty or beyond int32")


def pattern_of(part: Input | State) -> tuple[int | None, ...]:
    """See :attr:`Input.pattern`."""
    return tuple(None if part.dims and part.dims[i] else d for i, d in enumerate(part.shape))


def resized(part: Part, sizes: Mapping[str, int]) -> Part:
    """An input or a state with the sizes of its named dimensions."""
    dims = part.dims or ("",) * len(part.shape)
    return replace(part, shape=tuple(sizes.get(name, d) for name, d in zip(dims, part.shape, strict=True)))


def sizes_of(parts: tuple[Input | State, ...], dims: Mapping[str, Dimension]) -> dict[str, int]:
    """The size that each named dimension has in these inputs and states.

    Raises:
        ProgramError: a dimension that is not declared, or has two sizes, or one outside of its range.
    """
    sizes: dict[str, int] = {}
    for part in parts:
        where = f"{type(part).__name__.lower()} {part.name}"
        fits = len(part.dims) in (0, len(part.shape))
        require(fits, f"{where}: dims {part.dims}, need () or one for each dimension of {part.shape}")
        for name, size in zip(part.dims, part.shape, strict=False):
            if not name:
                continue
            require(name in dims, f"{where}: dimension {name!r} is not declared in dims")
            first = sizes.setdefault(name, size)
            require(first == size, f"{where}: dimension {name} is {size} here and {first} before")
            least, most = dims[name].least, dims[name].most
            require(least <= size <= most, f"{where}: dimension {name} is {size}, need {least} to {most}")
    return sizes


def _holds(dtype: type[np.integer], lo: int, hi: int) -> bool:
    return int(np.iinfo(dtype).min) <= lo and hi <= int(np.iinfo(dtype).max)
