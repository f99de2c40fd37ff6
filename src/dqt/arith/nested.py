"""Nested codes: one master integer, whose top bits are the value at every smaller width.

Notation (docs/numerics.md, section 1): master width ``n``, width ``b <= n``, shift ``s = n - b``. A *code* is the
b-bit integer; ``T_b(q)`` is that code read back in master units, so it fits the same n-bit lane as ``q``.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

MIN_WIDTH, MAX_WIDTH = 1, 8
MAX_EXPONENT = 2
"""A width may read a range of ``2^-e`` of the master's, for ``e`` up to this."""

Integers = TypeVar("Integers", bound=Any)
"""A NumPy array or torch tensor of integer dtype, wide enough for its values (int16 or wider is always enough)."""


def shift_of(n: int, b: int, e: int = 0) -> int:
    """The shift ``s = n - b - e`` between master width ``n`` and width ``b`` (equation 3; with ``e``, equation 34).

    Raises:
        ValueError: unless ``1 <= b <= n <= 8`` and ``0 <= e <= min(2, n - b)``.
    """
    if not (MIN_WIDTH <= b <= n <= MAX_WIDTH):
        raise ValueError(f"width b={b} of master n={n}: need {MIN_WIDTH} <= b <= n <= {MAX_WIDTH}")
    if not 0 <= e <= min(MAX_EXPONENT, n - b):
        raise ValueError(f"exponent e={e} at width b={b} of master n={n}: need 0 <= e <= {min(MAX_EXPONENT, n - b)}")
    return n - b - e


def limits(n: int, *, signed: bool) -> tuple[int, int]:
    """The smallest and largest n-bit integer: ``[-2^(n-1), 2^(n-1) - 1]`` or ``[0, 2^n - 1]`` (equation 1)."""
    shift_of(n, n)
    return (-(1 << (n - 1)), (1 << (n - 1)) - 1) if signed else (0, (1 << n) - 1)


def signed_zero(n: int) -> int:
    """Zero point of a symmetric signed activation kept in unsigned codes, ``2^(n-1)``: on the grid of every width."""
    return 1 << (n - 1)


def code_floor(q: Integers, n: int, b: int) -> Integers:
    """``q >> s``: the top ``b`` bits of ``q`` (equation 3); arithmetic for signed ``q``."""
    return q >> shift_of(n, b)


def code_nearest(q: Integers, n: int, b: int) -> Integers:
    """The nearest b-bit code of an unsigned master, ``min((q + ((1 << s) >> 1)) >> s, 2^b - 1)`` (equation 6).

    Ties go up; the last half bin saturates. ``q`` in ``[0, 2^n - 1]``, dtype of at least 9 bits.
    """
    s = shift_of(n, b)
    return ((q + ((1 << s) >> 1)) >> s).clip(0, (1 << b) - 1)


def midpoint(n: int, b: int, index: int, e: int = 0) -> int:
    """The balanced midpoint ``h_b`` of input channel (or tap) ``index``: ``2^(s-1) - (index & 1)``, 0 at s = 0 (eq. 5).

    A rounded master puts a bin's true centre at ``(2^s - 1) / 2``; taking the integers on either side in turn
    cancels the half over pairs of taps.
    """
    s = shift_of(n, b, e)
    return (1 << (s - 1)) - (index & 1) if s else 0


def midpoints(n: int, b: int, count: int, e: int = 0) -> npt.NDArray[np.int8]:
    """``h_b`` for indices ``0..count-1``, int8 ``[count]`` (equation 5)."""
    return np.array([midpoint(n, b, i, e) for i in range(count)], dtype=np.int8)


def weight_midpoints(n: int, b: int, shape: tuple[int, ...], e: int = 0) -> npt.NDArray[np.int8]:
    """``h_b`` shaped to broadcast over a weight ``[out, in, *taps]`` (equation 5).

    The index is the input channel; in a filter with one input channel (depthwise) it is the tap, row-major.
    """
    taps = shape[2:]
    if shape[1] == 1 and taps:
        return midpoints(n, b, int(np.prod(taps)), e).reshape(1, 1, *taps)
    return midpoints(n, b, shape[1], e).reshape(1, shape[1], *(1 for _ in taps))


def saturated_weight(q: Integers, n: int, e: int) -> Integers:
    """``clamp(q, -2^(n-1-e), 2^(n-1-e) - 1)``: the part of the range that a width reads (equation 34)."""
    return q.clip(-(1 << (n - 1 - e)), (1 << (n - 1 - e)) - 1) if e else q


def narrow_weight(q: Integers, n: int, b: int, h: Any, e: int = 0) -> Integers:
    """``T_b(q) = ((q >> s) << s) + h_b`` with the midpoint rule (equation 4; with ``e``, equation 34).

    Signed ``q`` in ``[-2^(n-1), 2^(n-1) - 1]`` stays there, so an int8 stays an int8. ``h``: from :func:`midpoint`.
    """
    s = shift_of(n, b, e)
    return ((saturated_weight(q, n, e) >> s) << s) + h


def nearest_weight(q: Integers, n: int, b: int, e: int = 0) -> Integers:
    """``T_b(q)`` of a signed weight with the nearest rule, which has a zero at every width (equation 35).

    Ties go up; the last half bin saturates. Result in ``[-2^(n-1-e), 2^(n-1-e) - 2^s]``; dtype of at least 9 bits.
    """
    s = shift_of(n, b, e)
    code = (saturated_weight(q, n, e) + ((1 << s) >> 1)) >> s
    return code.clip(-(1 << (b - 1)), (1 << (b - 1)) - 1) << s


def narrow_activation(q: Integers, n: int, b: int, e: int = 0, zero: int = 0) -> Integers:
    """``T_b(q) = code << s`` with the nearest rule (equation 6): unsigned, keeps an exact zero.

    With ``e``, the codes of a range of ``2^-e`` of the master's, that around the zero point ``zero`` (equation 36).
    ``q`` in ``[0, 2^n - 1]``, dtype of at least 9 bits; with ``e = 0`` the result is in ``[0, 2^n - 2^s]``.
    """
    s, start = shift_of(n, b, e), zero - (zero >> e)
    if e:
        q = (q - start).clip(0, (1 << (n - e)) - 1)
    return (((q + ((1 << s) >> 1)) >> s).clip(0, (1 << b) - 1) << s) + start
