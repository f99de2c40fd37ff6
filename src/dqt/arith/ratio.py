"""Constants of codes that float32 rounds as integers do (docs/numerics.md, section 12).

The multiplier is a fraction ``a / b`` with an odd ``b``, and the bias a number of accumulators. Then no result lies
near a half, and every arithmetic whose error is small enough gives the same code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.fixed import SHIFT, multiplier, offset

Floats = npt.NDArray[np.float64]

ROOM = 2**22
"""``b`` times the largest result stays below: two roundings to float32 are then an error of less than ``1 / (2b)``."""
LARGEST = 0.125
"""The largest multiplier whose bias may be rounded to accumulators: an error of 1/16 of a code."""
NUMERATORS = np.arange(16.0)
"""How far below the largest numerator those lie that are tried."""
NEAR, STEPS = 8, 64
"""How many denominators, and how many multipliers, on either side are tried for the smallest multipliers."""
CHANGE = 0.25
"""How many codes a result may change by where a fraction is not next to the multiplier: the largest that is rounded."""
UNIT = 2.0**SHIFT


def code_constants(
    scale: Any, bias: Any, shift: int, zero: int, lo: int, hi: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """``m`` and ``c`` of results that are codes, of the shape of ``scale`` (equations 38 and 39).

    Args:
        scale: the real multipliers, of one dimension or more; ``bias``: in output steps, of the same shape.
        shift: what :func:`dqt.arith.fixed.choose_shift` gives for ``scale``.
        zero: the result's zero point.   lo, hi: its clamp.

    Raises:
        ValueError: as :func:`dqt.arith.fixed.offset`.
    """
    real, beta = (np.asarray(part, dtype=np.float64) for part in (scale, bias))
    m, c = multiplier(real, shift), offset(beta, zero, shift)
    chosen = (m != 0) & (np.abs(real) <= LARGEST)
    if shift != SHIFT or not lo <= zero <= hi or lo == hi or not chosen.any():
        return m, c
    reach = max(zero - lo, hi - zero)
    a, b = fraction_near(np.abs(real[chosen]), reach)
    found = np.copysign(np.rint(a * UNIT / b), real[chosen])
    steps = np.rint(beta[chosen] * (UNIT / found)).astype(np.int64)
    m[chosen] = found.astype(np.int32)
    c[chosen] = steps * m[chosen] + ((1 << shift) >> 1) + (zero << shift)
    return m, c


def fraction_near(scale: Floats, reach: int) -> tuple[Floats, Floats]:
    """``a`` and ``b`` of a fraction near each ``scale``, whose multiplier is ``round(2^S * a / b)`` (equation 38).

    Where a fraction has the guarantee for results up to ``reach``, the nearest one that was tried; elsewhere the one
    that has it for the largest results.

    Args:
        scale: ``[K]``, from ``2^-33`` to ``LARGEST``.

    Returns:
        integers ``[K]``; ``b`` is odd.
    """
    r = scale[:, None]
    most = (ROOM - 1) // reach
    a = np.maximum(np.floor(r * most) - NUMERATORS, 1)
    b = nearest_odd(a / r)
    a, b, room = _best(a, np.where(b > most, b - 2, b), r, reach)
    short = room < reach
    if short.any():
        a[short], b[short] = _smallest(r[short], reach)
    return a, b


def nearest_odd(x: Floats) -> Floats:
    """The odd integer nearest to each number, at least 1."""
    return np.maximum(2 * np.rint((x - 1) / 2) + 1, 1)


def _smallest(r: Floats, reach: int) -> tuple[Floats, Floats]:
    """As :func:`fraction_near`, of multipliers whose numerators are few: other denominators are tried."""
    near = 2.0 * np.arange(-NEAR, NEAR + 1)
    multipliers = np.maximum(np.rint(r * UNIT) + np.arange(-STEPS, STEPS + 1.0), 1)
    parts = [(np.float64(a), nearest_odd(a / r) + near) for a in (1, 2, 3)]
    parts.append((np.float64(1), nearest_odd(UNIT / multipliers)))
    a = np.concatenate([np.full_like(b, a) for a, b in parts], axis=1)
    b = np.maximum(np.concatenate([b for _, b in parts], axis=1), 1)
    return _best(a, b, r, reach)[:2]


def _best(a: Floats, b: Floats, r: Floats, reach: int) -> tuple[Floats, Floats, Floats]:
    """Of the fractions ``a / b`` of each row the best, and up to what results it has the guarantee.

    Every number is an integer below ``2^53``, so that float64 is exact.
    """
    m = np.rint(a * UNIT / b)
    off = np.abs(m * b - a * UNIT)
    room = np.minimum((ROOM - 1) / b, (a * UNIT / 2 - 1) / (np.maximum(off, 0.5) * b))
    away = np.abs(a / (b * r) - 1)
    good = np.where(away * np.minimum(reach, r * ROOM) <= CHANGE, np.minimum(room, reach) - away, -away)
    best = np.argmax(np.where(m > 0, good, -np.inf), axis=1)[:, None]
    first, second, third = (np.take_along_axis(each, best, axis=1)[:, 0] for each in (a, b, room))
    return first, second, third
