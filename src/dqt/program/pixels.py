"""Raw pixels as a program takes them: ``(pixels / 255 - mean) / std`` with the constants that the program carries.

The one definition for every way in: ``dqt.interpret``, ``dqt.Runtime`` and the verbs of the command line call
:func:`pixels_to_inputs` for uint8 arrays, and image files become uint8 arrays first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.errors import InputError

if TYPE_CHECKING:
    from dqt.program.program import Program

Pattern: TypeAlias = tuple[int | None, ...]
"""The shape of a sample; ``None`` is any size."""


class TakesPixels(Protocol):
    """A program with one input, or one of its inputs."""

    @property
    def input_shape(self) -> Pattern:
        """Shape of one sample."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What the program says of its pixels."""


def pixels_to_inputs(program: TakesPixels, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Inputs of ``program``, float32 ``[N, *input_shape]``, from uint8 pixels in [0, 255].

    The same float32 operations in the same order as in training, so the inputs are equal to the bit.

    Args:
        program: its ``info`` says ``mean`` and ``std``, one number per channel, of pixels in [0, 1].
        pixels: ``[N, *input_shape]``, which is ``[N, C, H, W]`` for images; or ``[N, H, W, C]``, or for one channel
            ``[N, H, W]``. Where a shape could be both, channels come first.

    Raises:
        InputError: another dtype or shape; or the program's mean and std are missing or not for this many channels.
    """
    if pixels.dtype != np.uint8:
        raise InputError(f"pixels of dtype {pixels.dtype}: need uint8, 0 to 255")
    planes = channels_first(pixels, program.input_shape)
    mean, std = (_constants(program, name) for name in ("mean", "std"))
    if not (std > 0).all():
        raise InputError(f"the program's std {std.ravel().tolist()} must be positive: lower the network again")
    return (planes.astype(np.float32, order="C") / np.float32(255) - mean) / std


def channels_first(pixels: npt.NDArray[Any], shape: Pattern) -> npt.NDArray[Any]:
    """``pixels`` as ``[N, *shape]``, from that layout, from ``[N, H, W, C]``, or from ``[N, H, W]`` for one channel.

    Raises:
        InputError: none of these.
    """
    rest = pixels.shape[1:]
    if fits(shape, rest):
        return pixels
    if len(shape) == 3 and fits((*shape[1:], shape[0]), rest):
        return np.moveaxis(pixels, -1, 1)
    if len(shape) == 3 and shape[0] == 1 and fits(shape[1:], rest):
        return pixels[:, None]
    need = _written(shape)
    if len(shape) == 3:
        need += f" or {_written((*shape[1:], shape[0]))}"
    if any(fits(each, pixels.shape) for each in _unbatched(shape)):
        raise InputError(f"pixels of shape {list(pixels.shape)} have no batch dimension: pass {need}, such as x[None]")
    raise InputError(f"pixels of shape {list(pixels.shape)}: this program takes {need}")


def fits(pattern: Pattern, shape: tuple[int, ...]) -> bool:
    """Whether a shape has the sizes of a pattern, of which ``None`` is any but 0."""
    same = len(pattern) == len(shape)
    return same and all(d > 0 if p is None else p == d for p, d in zip(pattern, shape, strict=True))


def with_batch(pixels: npt.NDArray[Any], shape: Pattern) -> npt.NDArray[Any]:
    """``pixels``, with a batch dimension of one where it is a single sample in a layout of :func:`channels_first`."""
    return pixels[None] if any(fits(each, pixels.shape) for each in _unbatched(shape)) else pixels


def class_name(program: Program, index: int) -> str:
    """The name of a class, or its number where the program does not name its classes."""
    names = program.info.get("classes")
    return str(names[index]) if isinstance(names, list | tuple) and index < len(names) else str(index)


def _written(shape: Pattern) -> str:
    return f"[N, {', '.join('any' if d is None else str(d) for d in shape)}]"


def _unbatched(shape: Pattern) -> tuple[Pattern, ...]:
    """The shapes of one sample."""
    if len(shape) != 3:
        return (shape,)
    last = (*shape[1:], shape[0])
    return (shape, last, shape[1:]) if shape[0] == 1 else (shape, last)


def _constants(program: TakesPixels, name: str) -> npt.NDArray[np.float32]:
    """The program's ``name``, shaped to broadcast along the channels of ``[N, *input_shape]``."""
    value: Any = program.info.get(name)
    if value is None:
        raise InputError(
            f"uint8 values are pixels, and this program does not say the {name} of its pixels: pass a float32 array, "
            f"normalized as in training, or lower with info={{'mean': [...], 'std': [...]}}"
        )
    if not isinstance(value, list | tuple) or not all(isinstance(v, int | float) for v in value):
        raise InputError(f"the program's {name} is {value!r}: need a list of numbers, one for each channel")
    channels = program.input_shape[0]
    if len(value) != channels:
        raise InputError(f"images of {channels} channels, but the program's {name} is for {len(value)}")
    return np.array(value, dtype=np.float32).reshape(1, -1, *[1] * (len(program.input_shape) - 1))
