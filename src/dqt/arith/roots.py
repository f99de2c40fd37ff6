"""Normalization in integers: an inverse square root without a division (docs/numerics.md, section 8).

Every function takes NumPy arrays and torch tensors of int64 alike. Nothing here is a float.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.nested import Integers

ENERGY_BITS = 62
"""An energy, the argument of the square root, lies in ``[1, 2^62)``."""
ROOT_BITS = 45
"""An inverse root is ``2^45 / sqrt(w)`` for ``w`` in ``[2^30, 2^32)``: an integer in ``(2^29, 2^30]``."""
UNIT_BITS = 20
"""A normalized value is an integer in units of ``2^-20``."""
SUM_BITS = 30
"""The sum of a row's magnitudes is below ``2^30``."""
FIRST_BITS = 25
"""The first guess of an inverse root reads all but the low 25 bits of ``w``."""


def root_table() -> npt.NDArray[np.int64]:
    """First guesses, int64 ``[128]``: entry ``i`` is ``floor(2^31 / sqrt((i + 1/2) * 2^25))`` (equation 23).

    Entries below 32 are never read: ``w >> 25`` is at least 32.
    """
    return np.array([isqrt((1 << 38) // (2 * i + 1)) for i in range(128)], dtype=np.int64)


def row_shift(most: Integers, count: int) -> Integers:
    """``k``: how far to shift a row of ``count`` integers right, so that their sum stays below ``2^30`` (equation 22).

    Args:
        most: the largest magnitude in the row, at most ``2^32``.
    """
    bits = most * 0
    for k in (16, 8, 4, 2, 1):
        some = (most >= (1 << k)) * k
        most, bits = most >> some, bits + some
    return (bits + (most > 0) * 1 + (most > 1) * 1 + (count.bit_length() - SUM_BITS)).clip(0, None)


def shifted(v: Integers, k: Integers) -> Integers:
    """``v / 2^k``, rounded half up (equation 22)."""
    return (v + ((1 << k) >> 1)) >> k


def energy(squares: Integers, total: Integers, count: int, added: int, k: Any = 0) -> Integers:
    """``max(count * squares - total^2 + (E >> 2k), 1)``: ``count^2`` times variance plus eps (equation 22).

    Args:
        squares, total: sums of ``v^2`` and of ``v`` over ``count`` integers; ``total`` is 0 for a root mean square.
        added: ``E``, of :func:`added_energy`.
        k: of :func:`row_shift`.
    """
    return (squares * count - total * total + ((squares * 0 + added) >> (k * 2))).clip(1, None)


def added_energy(count: int, epsilon: int, fraction: int) -> int:
    """``E``: what an eps of ``epsilon / 2^fraction`` adds to an energy, rounded half up (equation 22)."""
    return (count * count * epsilon + ((1 << fraction) >> 1)) >> fraction


def inverse_root(w: Integers, table: Any) -> tuple[Integers, Integers]:
    """``(r, j)`` with ``r * 2^(j - 60)`` next to ``1 / sqrt(w)``, and ``j`` in ``[0, 30]`` (equation 23).

    The argument is doubled ``2j`` times, until its highest bit is bit 60 or 61; a table of its 7 highest bits gives
    16 bits of the inverse root, and two steps of Newton's method the rest. The relative error is below ``2^-25``.

    Args:
        w: in ``[1, 2^62)``.   table: :func:`root_table`, an array of the same library.
    """
    doublings = w * 0
    for k in (16, 8, 4, 2, 1):
        some = (w < (1 << (ENERGY_BITS - 2 * k))) * k
        w, doublings = w << (some * 2), doublings + some
    w = w >> 30
    three = 3 << 31
    r = table[w >> FIRST_BITS]
    r = (r * (three - ((r * r * w) >> 31))) >> 18
    r = (r * (three - ((((r * r) >> 28) * w) >> 31))) >> 32
    return r, doublings


def normalize(deviation: Integers, r: Integers, doublings: Integers) -> Integers:
    """``deviation / sqrt(w)`` in units of ``2^-20``, rounded half up, from :func:`inverse_root` of ``w`` (equation 24).

    Args:
        deviation: ``count * v - total``, in ``(-2^31, 2^31)``.
    """
    shift = 2 * UNIT_BITS - doublings
    return (deviation * r + ((1 << shift) >> 1)) >> shift
