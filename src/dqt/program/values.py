"""The tensors of a program: integers that stand for real numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import WIDE_LIMIT
from dqt.arith.nested import limits, signed_zero
from dqt.arith.plan import Space
from dqt.program.errors import require
from dqt.program.schema import check_shape

Shape: TypeAlias = tuple[int, ...]
Int8 = npt.NDArray[np.int8]
UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

INPUT = "input"
"""What the one ``Quantize`` reads: the float32 sample, no value of the program."""
STEP_MIN, STEP_MAX = 2.0**-100, 2.0**100
"""Scales lie between, so that a scale and its inverse are normal float32 numbers."""


@dataclass(frozen=True)
class Value:
    """One tensor of the program: the real numbers ``step * (q - zero)``, without its batch dimension.

    A *code* value holds unsigned n-bit integers ``[0, 2^n - 1]``, stored as uint8. A *wide* value holds signed integers
    within 24 bits and has ``zero = 0``, stored as int32: an output before its dequantization, a controller's logits.
    """

    name: str
    shape: Shape
    step: float
    zero: int
    wide: bool = False

    def interval(self, master: int) -> tuple[int, int]:
        """The integers that it may hold, smallest and largest."""
        return (-WIDE_LIMIT, WIDE_LIMIT) if self.wide else limits(master, signed=False)


def check_value(value: Value, space: Space) -> None:
    """Check a value by itself: a shape that can be allocated, a usable scale, a zero point of its kind.

    Raises:
        ProgramError: one of them is not legal.
    """
    if value.shape:  # of no dimension, a value is one number for each sample
        check_shape(value.shape, f"value {value.name}")
    require(STEP_MIN <= value.step <= STEP_MAX, f"value {value.name}: step {value.step} is not in [2^-100, 2^100]")
    zeros = (0,) if value.wide else (0, signed_zero(space.master))
    require(value.zero in zeros, f"value {value.name}: zero {value.zero}, need one of {zeros}")
