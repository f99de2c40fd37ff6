"""One input of a program: what is taken for it, from whatever holds numbers, and the warning for what does not fit."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.errors import InputError, InputRangeWarning
from dqt.program.pixels import fits, pixels_to_inputs
from dqt.program.signature import Entry
from dqt.program.values import FLOAT, Input

Floats: TypeAlias = npt.NDArray[np.float32]
Array: TypeAlias = npt.NDArray[Any]

BEYOND, FAR = 1.25, 4.0
"""Distances from the middle of the calibrated range, in halves of its width (1 is its edge): an input is *beyond* the
range where calibration could not have meant it, and *far* at several times the range."""
MOST_BEYOND, MOST_SATURATED = 0.5, 0.01
"""A sample does not fit where more of its elements are beyond; or where one is far, and more than this are outside."""
LOOKS = 16
"""So many inputs with wild values are counted element by element, and then one of as many."""


class Range:
    """The real numbers that an input's codes can stand for, ``middle - half`` to ``middle + half``.

    Float32, shaped to broadcast over ``[N, *shape]``: numbers may differ along one dimension.
    """

    def __init__(self, entry: Entry, rank: int, master: int) -> None:
        gain, bias = entry.shaped(rank)
        highest = 2**master - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            self.half: Array = np.where(gain == 0, np.inf, np.abs(highest / gain / 2))
            self.middle: Array = np.where(gain == 0, 0.0, (highest / 2 - entry.value.zero - bias) / gain)
        self.least = float((self.middle - BEYOND * self.half).max())
        self.most = float((self.middle + BEYOND * self.half).min())

    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number that is not clipped anywhere."""
        return float((self.middle - self.half).min()), float((self.middle + self.half).max())


class Given:
    """One input; warns, once, of samples that lie far outside of what the program was calibrated with.

    Attributes:
        input: what the program declares.   info: what it says of its pixels.   range: of a float input.
        a, the: what messages call it, without its name where it is the only one.
    """

    def __init__(self, given: Input, entry: Entry | None, master: int, info: Mapping[str, Any], *, alone: bool) -> None:
        self.input, self.info, self.pattern = given, info, given.pattern
        self.range = Range(entry, len(given.shape), master) if entry else None
        self.a, self.the = ("an input", "the input") if alone else (f"input {given.name}",) * 2
        self.need = "[N, " + ", ".join(given.dims[i] if d is None else str(d) for i, d in enumerate(self.pattern)) + "]"
        self._looks, self._warned = 0, False

    def __call__(self, x: Any, *, warn: bool = True) -> Array:
        """``x`` as float32, or int64 of an integer input, ``[N, *shape]``.

        Raises:
            InputError: another shape or dtype, nothing, a NaN or an infinity, an integer outside of the interval; or
                pixels, where the program does not say the mean and std of its pixels.
        """
        array = self._array(x)
        if self.pattern == (1,) and array.ndim == 1:  # one number a sample
            array = array[:, None]
        if self.input.kind != FLOAT:
            return self._integers(array)
        inputs, low, high = self._finite(self._shaped(self._pixels(array)))
        if warn and self.range and not self._warned and (low < self.range.least or high > self.range.most):
            self._looks += 1  # the extremes are known anyway: what fits costs nothing more
            if self._looks <= LOOKS or self._looks % LOOKS == 0:
                self._look(inputs, self.range)
        return inputs

    def _array(self, x: Any) -> Array:
        """``x`` as an array, without a copy where that is possible."""
        if type(x) is np.ndarray:
            return x
        if np.ma.is_masked(x):  # arithmetic would skip these values, and so would the search for a NaN
            raise InputError(f"{self.the} has masked values: fill them (x.filled(...)), and pass {self.need}")
        try:
            return array_of(x)
        except (BufferError, TypeError, ValueError, RuntimeError) as error:
            kind = "float32" if self.input.kind == FLOAT else "integers"
            raise InputError(f"{self.the} is not an array of numbers ({error}): pass {kind} {self.need}") from None

    def _pixels(self, array: Array) -> Array:
        if array.dtype.kind not in "iuf":
            words = "pass float32, or other real floats or integers,"
            raise InputError(f"{self.a} of dtype {array.dtype}: {words} {self.need}")
        return pixels_to_inputs(self, array) if array.dtype == np.uint8 else array

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of a sample; ``None`` where any size of a named dimension is taken."""
        return self.pattern

    def _shaped(self, array: Array) -> Array:
        """``array`` if it is ``[N, *shape]``."""
        if fits(self.pattern, array.shape):
            raise InputError(
                f"{self.a} of shape {list(array.shape)} has no batch dimension: pass {self.need}, such as x[None]"
            )
        if array.ndim != len(self.pattern) + 1 or not fits(self.pattern, array.shape[1:]):
            raise InputError(f"{self.a} of shape {list(array.shape)}: this program takes {self.need}")
        if len(array) == 0:
            raise InputError(f"an empty batch: pass {self.need} with N of at least 1")
        return array

    def _finite(self, array: Array) -> tuple[Floats, float, float]:
        """Finite float32, and the smallest and largest of them: a NaN or an infinity shows in one of the two."""
        with np.errstate(over="ignore", invalid="ignore"):
            inputs: Floats = array.astype(np.float32, copy=False)
            low = float(np.minimum.reduce(inputs, axis=None))  # as inputs.min(), without the wrapper's microsecond
            high = float(np.maximum.reduce(inputs, axis=None))
        if not (math.isfinite(low) and math.isfinite(high)):
            first = int(np.argmin(np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)))
            raise InputError(
                f"sample {first} of {self.the} holds a NaN or a number beyond float32: clean the data first"
            )
        return inputs, low, high

    def _integers(self, array: Array) -> Array:
        lo, hi = self.input.lo, self.input.hi
        if array.dtype.kind not in "iub":
            raise InputError(f"{self.a} of dtype {array.dtype}: pass integers {self.need}, from {lo} to {hi}")
        array = self._shaped(array)
        outside = (array < lo) | (array > hi)
        if outside.any():
            first = int(np.argmax(outside.reshape(len(array), -1).any(axis=1)))
            wrong = int(array[first][outside[first]].flat[0])
            raise InputError(f"sample {first} of {self.the} holds {wrong}: this program takes {lo} to {hi}")
        return array.astype(np.int64, copy=False)

    def _look(self, inputs: Floats, taken: Range) -> None:
        flat = np.abs(inputs - taken.middle.astype(np.float32)) / taken.half.astype(np.float32)
        flat = flat.reshape(len(inputs), -1)
        beyond = np.mean(flat > BEYOND, axis=1) > MOST_BEYOND
        outside = (flat.max(axis=1) > FAR) & (np.mean(flat > 1, axis=1) > MOST_SATURATED)
        wrong = np.flatnonzero(beyond | outside)
        if len(wrong) == 0:
            return
        self._warned = True
        first = int(wrong[0])
        share = float(np.mean(flat[first] > 1))
        least, most, (low, high) = float(inputs[first].min()), float(inputs[first].max()), taken.ends()
        warnings.warn(
            f"sample {first} of {self.the} lies far outside of what this program was calibrated with: {share:.0%} of "
            f"its values are clipped; they reach from {least:.3g} to {most:.3g}, and the program takes "
            f"{low:.3g} to {high:.3g}. Is it normalized as in training? "
            f"{len(wrong)} of {len(inputs)} samples are so; this program warns only once",
            InputRangeWarning,
            stacklevel=_callers_level(),
        )


def array_of(x: Any) -> Array:
    """``x``, an array of any library or nested lists, as an array of NumPy.

    Raises:
        BufferError, TypeError, ValueError, RuntimeError: whatever its own library or NumPy raises.
    """
    if hasattr(x, "detach"):
        return _of_tensor(x.detach().cpu())
    if isinstance(x, list | tuple) and any(hasattr(each, "detach") for each in x):
        return np.stack([_of_tensor(each.detach().cpu()) if hasattr(each, "detach") else each for each in x])
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return np.from_dlpack(x)
    return np.asarray(x)


def _of_tensor(x: Any) -> Array:
    try:
        return np.asarray(x.resolve_neg() if hasattr(x, "resolve_neg") else x)
    except TypeError:  # bfloat16, which NumPy lacks
        return np.asarray(x.float())


def _callers_level() -> int:
    """The ``stacklevel`` of the first caller outside of this package."""
    level, frame = 0, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "dqt":
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level + 1
