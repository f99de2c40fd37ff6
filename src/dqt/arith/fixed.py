"""Requantization: the one rounding step, ``y = clamp((acc * m + c) >> S, lo, hi)`` (docs/numerics.md, section 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.nested import Integers

SHIFT = 32
"""The shift of every operator whose scales are below 1/2."""
M_MAX = 2**31 - 1
C_MAX = 2**62

Floats = npt.NDArray[np.float64]


def choose_shift(scale: Any) -> int:
    """The largest ``S <= 32`` for which every ``|round(scale * 2^S)|`` fits int32 (equation 9).

    Args:
        scale: finite real scales of one operator, any shape.

    Raises:
        ValueError: a scale is not finite, or so large (``>= 2^30``) that no shift of at least 1 is left.
    """
    largest = float(np.max(np.abs(np.asarray(scale, dtype=np.float64)), initial=0.0))
    if not np.isfinite(largest):
        raise ValueError("requantization scale is not finite")
    shift = SHIFT
    while shift > 0 and np.rint(largest * 2.0**shift) > M_MAX:
        shift -= 1
    if shift < 1:
        raise ValueError(f"requantization scale {largest:g} is too large: the output's range is far below its input's")
    return shift


def multiplier(scale: Any, shift: int) -> npt.NDArray[np.int32]:
    """``m = round(scale * 2^S)``, int32 (equation 9). Error of the scale: at most ``2^-(S+1)``."""
    return np.rint(np.asarray(scale, dtype=np.float64) * 2.0**shift).astype(np.int32)


def area_multiplier(m: int, area: int) -> int:
    """``floor((m + floor(area / 2)) / area)``: the multiplier of a mean, from that of a sum (equation 30).

    An integer rule, so that means over dimensions whose size is known only in the run have one on every platform.
    """
    return (m + area // 2) // area


def offset(bias: Any, zero: int, shift: int) -> npt.NDArray[np.int64]:
    """``c = round(bias * 2^S) + 2^(S-1) + zero * 2^S``: bias (output steps), rounding and zero point in one (eq. 10).

    Raises:
        ValueError: ``|c|`` would pass ``2^62`` (a bias of ``2^30`` output steps at S = 32).
    """
    real = np.rint(np.asarray(bias, dtype=np.float64) * 2.0**shift)
    if not np.all(np.abs(real) < C_MAX - 2.0 ** (shift + 9)):
        worst = float(np.max(np.abs(np.asarray(bias, dtype=np.float64))))
        raise ValueError(f"a bias of {worst:g} output steps does not fit the 64-bit offset")
    return real.astype(np.int64) + ((1 << shift) >> 1) + (zero << shift)


def requantize(acc: Integers, m: Any, c: Any, shift: int, lo: int, hi: int) -> Integers:
    """``clamp((acc * m + c) >> shift, lo, hi)``: one product, one arithmetic shift, half up (equation 8).

    ``acc``, ``m`` and ``c`` are 64-bit integers or broadcast to them; ``|acc * m + c| < 2^63`` is the caller's
    proof (:mod:`dqt.arith.bounds`).
    """
    return ((acc * m + c) >> shift).clip(lo, hi)
