"""Linear interpolation in integers: which two elements an output lies between, and how near (docs/numerics.md, 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.nested import Integers

WEIGHT_BITS = 11
"""The two weights of one dimension are integers in units of ``2^-11`` and add up to ``2^11``."""

Indices = npt.NDArray[np.int64]


def neighbours(inputs: int, outputs: int, step: tuple[int, int], *, corners: bool) -> tuple[Indices, Indices, Indices]:
    """First neighbour, second neighbour, and the second one's weight in ``[0, 2^11]``, of each output (equation 31).

    Args:
        inputs, outputs: elements along the dimension.
        step: numerator and denominator of the distance, in inputs, from one output to the next; ``inputs / outputs``
            where they are 0. Not used with ``corners``.
        corners: whether the outer outputs lie on the outer inputs; otherwise the outer edges of these coincide.
    """
    i = np.arange(outputs, dtype=np.int64)
    if corners:
        place, unit = i * (inputs - 1), max(outputs - 1, 1)
    else:
        above, below = step if step[0] else (inputs, outputs)
        place, unit = np.maximum((2 * i + 1) * above - below, 0), 2 * below
    first = np.minimum(place // unit, inputs - 1)
    weight = (place - first * unit) * (1 << WEIGHT_BITS) + unit // 2
    return first, np.minimum(first + 1, inputs - 1), np.minimum(weight // unit, 1 << WEIGHT_BITS)


def between(first: Integers, second: Integers, weight: Any) -> Integers:
    """``2^11`` times the number that lies between two, ``weight / 2^11`` of the way (equation 32)."""
    return (first << WEIGHT_BITS) + (second - first) * weight


def resized(total: Integers, dimensions: int = 2) -> Integers:
    """An interpolated integer from ``2^(11 dimensions)`` times its value, rounded half up (equation 33)."""
    bits = dimensions * WEIGHT_BITS
    return (total + (1 << (bits - 1))) >> bits
