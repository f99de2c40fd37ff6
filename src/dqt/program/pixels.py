"""Raw images as a program takes them: ``(pixels / 255 - mean) / std`` with the constants that the program carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dqt.program.interpret import InputError

if TYPE_CHECKING:
    from dqt.program.program import Program


def as_pixels(program: Program, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Inputs of ``program`` from uint8 images ``[N, C, H, W]``, float32 of the same shape.

    The same float32 operations as in training, so the inputs are equal to the bit.

    Raises:
        InputError: the program does not say its mean and std, or they are not for this many channels.
    """
    mean, std = (_constants(program, name, images.shape[1]) for name in ("mean", "std"))
    if not (std > 0).all():
        raise InputError(f"the program's std {std.ravel().tolist()} must be positive: lower the network again")
    return (images.astype(np.float32) / np.float32(255) - mean) / std


def class_name(program: Program, index: int) -> str:
    """The name of a class, or its number where the program does not name its classes."""
    names = program.info.get("classes")
    return str(names[index]) if isinstance(names, list | tuple) and index < len(names) else str(index)


def _constants(program: Program, name: str, channels: int) -> npt.NDArray[np.float32]:
    value: Any = program.info.get(name)
    if value is None:
        raise InputError(
            f"this program does not say the {name} of its images: pass a float array, normalized as in training, or "
            f"lower with info={{'{name}': [...]}}"
        )
    if not isinstance(value, list | tuple) or not all(isinstance(v, int | float) for v in value):
        raise InputError(f"the program's {name} is {value!r}: need a list of numbers, one for each channel")
    if len(value) != channels:
        raise InputError(f"images of {channels} channels, but the program's {name} is for {len(value)}")
    return np.array(value, dtype=np.float32).reshape(1, -1, 1, 1)
