"""Overflow bounds, proved from the actual weights (docs/numerics.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

INT32 = 2**31 - 1
INT64 = 2**63 - 1
FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53
WIDE_LIMIT = 2**23 - 1
"""A wide value lies in ``[-WIDE_LIMIT, WIDE_LIMIT]``, so that its float32 is exact."""


@dataclass(frozen=True)
class Bound:
    """Per output channel: the smallest and largest accumulator that any input can produce, int64 ``[out]``."""

    lo: npt.NDArray[np.int64]
    hi: npt.NDArray[np.int64]

    @property
    def magnitude(self) -> int:
        """The largest ``|acc|`` over the channels."""
        return int(max(-self.lo.min(initial=0), self.hi.max(initial=0)))

    @property
    def bits(self) -> int:
        """Two's complement bits that hold every accumulator."""
        return signed_bits(int(self.lo.min(initial=0)), int(self.hi.max(initial=0)))


def signed_bits(lo: int, hi: int) -> int:
    """Bits of the smallest two's complement integer type that holds ``[lo, hi]``."""
    return max((-lo - 1).bit_length() if lo < 0 else 0, hi.bit_length() if hi > 0 else 0) + 1


def general_bits(n: int, taps: int) -> int:
    """``2n + ceil(log2 N)``: the accumulator bits that need no look at the weights (equation 13)."""
    return 2 * n + max(0, (taps - 1).bit_length())


def dot_bound(weight: npt.NDArray[np.signedinteger[Any]], x_lo: int, x_hi: int) -> Bound:
    """Bound of ``sum T(w) * (T(x) - z)`` over every input with ``T(x) - z`` in ``[x_lo, x_hi]`` (equation 14).

    Every partial sum, in any order, lies in the same interval widened to include 0, because ``x_lo <= 0 <= x_hi``.

    Args:
        weight: ``T_b(w)``, any integer dtype, ``[out, ...]``.
    """
    flat = weight.reshape(weight.shape[0], -1)
    positive = np.maximum(flat, 0).sum(axis=1, dtype=np.int64)
    negative = np.minimum(flat, 0).sum(axis=1, dtype=np.int64)
    return Bound(lo=positive * x_lo + negative * x_hi, hi=positive * x_hi + negative * x_lo)


def activation_product_bound(a: tuple[int, int], b: tuple[int, int], count: int) -> tuple[int, int]:
    """Bound of a sum of ``count`` products of integers in ``a`` with integers in ``b`` (equation 21).

    Every partial sum, in any order, lies in the same interval, which includes 0.
    """
    corners = [p * q for p in a for q in b]
    return min(0, count * min(corners)), max(0, count * max(corners))


def product_fits(
    lo: npt.NDArray[np.int64], hi: npt.NDArray[np.int64], m: npt.NDArray[np.int32], c: npt.NDArray[np.int64]
) -> bool:
    """Whether ``acc * m + c`` stays in int64 for every ``acc`` in ``[lo, hi]`` and every row of ``m``, ``c`` (eq. 15).

    Exact: computed in Python integers.
    """
    worst_acc = max(abs(int(v)) for v in (lo.min(initial=0), hi.max(initial=0)))
    worst_m = int(np.max(np.abs(m.astype(np.int64)), initial=0))
    worst_c = max(abs(int(c.min(initial=0))), abs(int(c.max(initial=0))))
    return worst_acc * worst_m + worst_c <= INT64
