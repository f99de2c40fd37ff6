"""What a program takes: the one definition of its inputs, for the interpreter, the native engine and every verb."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from dqt.arith.errors import InputError, InputRangeWarning
from dqt.program.pixels import pixels_to_inputs
from dqt.program.signature import Signature

if TYPE_CHECKING:
    from dqt.program.program import Program

Floats: TypeAlias = npt.NDArray[np.float32]

BEYOND, FAR = 1.25, 4.0
"""Distances from the middle of the calibrated range, in halves of its width (1 is its edge): an input is *beyond* the
range where calibration could not have meant it, and *far* at several times the range."""
MOST_BEYOND, MOST_SATURATED = 0.5, 0.01
"""A sample does not fit where more of its elements are beyond; or where one is far, and more than this are outside."""
LOOKS = 16
"""So many inputs with wild values are counted element by element, and then one of as many."""


class TakesInput(Protocol):
    """A program, or what is left of one in an engine."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What the program says of its pixels."""


def as_input(x: Any, program: TakesInput) -> Floats:
    """``x`` as float32 ``[N, *input_shape]``; uint8 is pixels, and is normalized as in training.

    ``x`` is a NumPy array, a tensor of torch (on any device, with or without gradients), what exports DLPack or the
    array interface, or nested lists. Every integer and real float type is taken; what is not uint8 is what the float
    model takes, as it is.

    Raises:
        InputError: another shape or dtype, nothing, a NaN or an infinity; or pixels, where the program does not say
            the mean and std of its pixels.
    """
    return _checked(_shaped(_array(x, _need(program)), program))[0]


class Inputs:
    """The inputs of one program; warns, once, of samples that lie far outside of what it was calibrated with.

    Attributes:
        input_shape: shape of one sample.
        info: what the program says of its pixels.
        middle, half: the calibrated range is ``middle - half`` to ``middle + half``.
    """

    def __init__(self, program: Signature) -> None:
        self.input_shape, self.info, codes = program.input_shape, program.info, program.input
        highest = 2**program.space.master - 1
        self.half = codes.step * highest / 2
        self.middle = self.half - codes.step * codes.zero
        self._looks, self._warned = 0, False
        self.need = _need(self)

    def __call__(self, x: Any) -> Floats:
        """:func:`as_input`, and the warning.

        Raises:
            InputError: as :func:`as_input`.
        """
        inputs, low, high = _checked(_shaped(_array(x, self.need), self))
        wild = max(high - self.middle, self.middle - low) > BEYOND * self.half
        if wild and not self._warned:  # the extremes are known anyway: what fits costs nothing more
            self._looks += 1
            if self._looks <= LOOKS or self._looks % LOOKS == 0:
                self._look(inputs)
        return inputs

    def _look(self, inputs: Floats) -> None:
        flat = np.abs(inputs.reshape(len(inputs), -1) - np.float32(self.middle)) / np.float32(self.half)
        beyond = np.mean(flat > BEYOND, axis=1) > MOST_BEYOND
        outside = (flat.max(axis=1) > FAR) & (np.mean(flat > 1, axis=1) > MOST_SATURATED)
        wrong = np.flatnonzero(beyond | outside)
        if len(wrong) == 0:
            return
        self._warned = True
        first = int(wrong[0])
        share = float(np.mean(flat[first] > 1))
        least, most = float(inputs[first].min()), float(inputs[first].max())
        warnings.warn(
            f"sample {first} of the input lies far outside of what this program was calibrated with: {share:.0%} of "
            f"its values are clipped; they reach from {least:.3g} to {most:.3g}, and the program takes "
            f"{self.middle - self.half:.3g} to {self.middle + self.half:.3g}. Is it normalized as in training? "
            f"{len(wrong)} of {len(inputs)} samples are so; this program warns only once",
            InputRangeWarning,
            stacklevel=_callers_level(),
        )


_INPUTS: WeakKeyDictionary[Program, Inputs] = WeakKeyDictionary()


def inputs_of(program: Program) -> Inputs:
    """The inputs of ``program``, the same object each time."""
    found = _INPUTS.get(program)
    if found is None:
        found = _INPUTS[program] = Inputs(Signature.of(program))
    return found


def _need(program: TakesInput) -> str:
    return f"[N, {', '.join(str(d) for d in program.input_shape)}]"


def _array(x: Any, need: str) -> npt.NDArray[Any]:
    """``x`` as an array, without a copy where that is possible."""
    if type(x) is np.ndarray:
        return x
    if np.ma.is_masked(x):  # arithmetic would skip these values, and so would the search for a NaN
        raise InputError(f"the input has masked values: fill them (x.filled(...)), and pass {need}")
    try:
        if hasattr(x, "detach"):
            return _of_tensor(x.detach().cpu())
        if isinstance(x, list | tuple) and any(hasattr(each, "detach") for each in x):
            return np.stack([_of_tensor(each.detach().cpu()) if hasattr(each, "detach") else each for each in x])
        if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
            return np.from_dlpack(x)
        return np.asarray(x)
    except (BufferError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"the input is not an array of numbers ({error}): pass float32 {need}") from None


def _of_tensor(x: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(x.resolve_neg() if hasattr(x, "resolve_neg") else x)
    except TypeError:  # bfloat16, which NumPy lacks
        return np.asarray(x.float())


def _shaped(array: npt.NDArray[Any], program: TakesInput) -> npt.NDArray[Any]:
    """``array`` as float32 ``[N, *input_shape]``, whatever its values are."""
    need, shape = program.need if isinstance(program, Inputs) else _need(program), program.input_shape
    if array.dtype.kind not in "iuf":
        raise InputError(f"an input of dtype {array.dtype}: pass float32, or other real floats or integers, {need}")
    if array.dtype == np.uint8:
        array = pixels_to_inputs(program, array)
    if array.shape == shape:
        raise InputError(f"an input of shape {list(shape)} has no batch dimension: pass {need}, such as x[None]")
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        raise InputError(f"an input of shape {list(array.shape)}: this program takes {need}")
    if len(array) == 0:
        raise InputError(f"an empty batch: pass {need} with N of at least 1")
    return array


def _checked(array: npt.NDArray[Any]) -> tuple[Floats, float, float]:
    """Finite float32, and the smallest and largest of them: a NaN or an infinity shows in one of the two."""
    with np.errstate(over="ignore", invalid="ignore"):
        inputs: Floats = array.astype(np.float32, copy=False)
        low = float(np.minimum.reduce(inputs, axis=None))  # as inputs.min(), without the wrapper's microsecond
        high = float(np.maximum.reduce(inputs, axis=None))
    if not (math.isfinite(low) and math.isfinite(high)):
        first = int(np.argmin(np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)))
        raise InputError(f"sample {first} of the input holds a NaN or a number beyond float32: clean the data first")
    return inputs, low, high


def _callers_level() -> int:
    """The ``stacklevel`` of the first caller outside of this package."""
    level, frame = 0, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "dqt":
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level + 1
