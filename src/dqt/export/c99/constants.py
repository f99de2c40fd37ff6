"""m and c of a layer in the narrowest tables that give the same integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.bounds import INT32, Bound, signed_bits
from dqt.export.c99.code import Code
from dqt.program.layered import Layered

LIMIT = 1 << 61
"""Products and sums below it leave room in int64 for everything that is added to them here."""
MOST_STEPS = 255
"""Outputs of more values than codes have leave c no room: it is exact."""
WORD = 16


@dataclass(frozen=True)
class Tables:
    """m and c of a layer in C, as ops.h describes them.

    Attributes:
        arrays: m, m_low, m_high, c, c_high, c_low.   base, row, unit: m_base, m_row, c_unit.
    """

    arrays: list[str]
    base: int
    row: int
    unit: int


def tables(code: Code, op: Layered, m: npt.NDArray[np.int32], c: npt.NDArray[np.int64], bound: Bound) -> Tables:
    """Add the tables of a layer.

    Args:
        m, c: ``[rows, O]``.   bound: of the accumulators that meet them, ``[rows, O]``.
    """
    narrow = offsets(m, c, bound, op.shift, op.lo, op.hi)
    multipliers, base, row = _multipliers(code, m)
    return Tables([*multipliers, *_parts(code, c, narrow)], base, row, 1 << narrow.up if narrow else 1)


def _multipliers(code: Code, m: npt.NDArray[np.int32]) -> tuple[list[str], int, int]:
    """m, m_low and m_high, m_base and m_row: where rows differ and 3 bytes hold it, what each is above the smallest.

    The smallest is that of the layer, or else that of each channel.
    """
    wide, outputs = m.astype(np.int64), m.shape[1]
    if (m == m[:1]).all():
        return [code.constant(m[:1], np.int32), "NULL", "NULL"], 0, 0
    for base in (wide.min(), wide.min(axis=0)):
        above = wide - base
        if above.max() >> 24 == 0:
            parts = [code.constant(above & 0xFFFF, np.uint16), code.constant(above >> 16, np.uint8)]
            if base.ndim:
                return [code.constant(base, np.int32), *parts], 0, 0
            return ["NULL", *parts], int(base), 0
    return [code.constant(m, np.int32), "NULL", "NULL"], 0, outputs


def _parts(code: Code, c: npt.NDArray[np.int64], narrow: Wide | None) -> list[str]:
    if narrow is None:
        return [code.constant(c, np.int64), "NULL", "NULL"]
    low = "NULL" if narrow.low is None else code.constant(narrow.low, np.uint16)
    return ["NULL", code.constant(narrow.high, np.int32), low]


@dataclass(frozen=True, eq=False)
class Wide:
    """``high * 2^up + low``: int32 and, where it is not 0, uint16 arrays of one shape."""

    high: npt.NDArray[np.int64]
    low: npt.NDArray[np.int64] | None
    up: int


def offsets(m: npt.NDArray[Any], c: npt.NDArray[np.int64], bound: Bound, shift: int, lo: int, hi: int) -> Wide | None:
    """c, or what rounds every accumulator to the same output, in 32 or else in 48 bits; ``None``: it takes more.

    Args:
        m, c: ``[rows, O]``.   bound: of the accumulators, ``[rows, O]``.
        shift, lo, hi: of the rounding ``clamp((acc * m + c) >> shift, lo, hi)``.
    """
    up = max(0, signed_bits(int(c.min()), int(c.max())) - 32)
    first, last = alike(m.astype(np.int64), c, bound, shift, lo, hi)
    least, most = -(-first >> up), last >> up
    high = np.clip(c >> up, least, most)
    if up < INT32.bit_length() and (least <= most).all() and np.abs(high).max() <= INT32:
        return Wide(high, None, up)
    high = c >> WORD
    return Wide(high, c & ((1 << WORD) - 1), WORD) if np.abs(high).max() <= INT32 else None


def alike(
    m: npt.NDArray[np.int64], c: npt.NDArray[np.int64], bound: Bound, shift: int, lo: int, hi: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first and the last number that rounds every accumulator to the output that ``c`` gives.

    An output of at least ``t`` begins at one accumulator ``T``. It stays there as long as ``T`` reaches ``t * 2^shift``
    and ``T - 1`` does not. Where the outputs or the numbers are too many or too large for that, ``c`` alone is left.
    """
    reach = np.maximum(-bound.lo, bound.hi) + 1
    room = max(int((reach * np.abs(m).astype(float)).max()), int(np.abs(c).max()), (abs(lo) + abs(hi) + 1) << shift)
    if hi - lo > MOST_STEPS or room >= LIMIT:
        return c, c
    falling = m < 0  # the same function of -acc rises
    start, end = np.where(falling, -bound.hi, bound.lo), np.where(falling, -bound.lo, bound.hi)
    start, end = np.where(m == 0, 0, start)[..., None], np.where(m == 0, 0, end)[..., None]
    rise = np.where(m == 0, 1, np.abs(m))[..., None]
    levels = np.arange(lo + 1, hi + 1, dtype=np.int64) << shift
    begins = np.clip(-((c[..., None] - levels) // rise), start, end + 1)
    first = np.where(begins <= end, levels - begins * rise, -LIMIT).max(axis=-1, initial=-LIMIT)
    last = np.where(begins > start, levels - (begins - 1) * rise - 1, LIMIT).min(axis=-1, initial=LIMIT)
    return first, last
