"""Matrices that stand for windows and for resizing: products with them are what some operators compute."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dqt.arith.resize import WEIGHT_BITS, neighbours
from dqt.program.ops.resize import Resize


def ones(ranges: npt.NDArray[np.int32], length: int) -> npt.NDArray[np.int32]:
    """1 where an output's window has an input: int32 ``[outputs, length]``."""
    index = np.arange(length)
    return ((index >= ranges[:, :1]) & (index < ranges[:, 1:])).astype(np.int32)


def resizing(op: Resize, side: int, inputs: int, outputs: int) -> npt.NDArray[np.int64]:
    """What each output takes of each input, int64 ``[outputs, inputs]`` (numerics.md, equations 31 and 32).

    Args:
        side: 0, rows; 1, columns.
    """
    step = (op.steps[2 * side], op.steps[2 * side + 1])
    first, second, weight = neighbours(inputs, outputs, step, corners=op.corners)
    index, found = np.arange(outputs), np.zeros((outputs, inputs), dtype=np.int64)
    found[index, first] += (1 << WEIGHT_BITS) - weight
    found[index, second] += weight
    return found
