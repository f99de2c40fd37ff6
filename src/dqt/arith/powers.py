"""Softmax in integers: powers of two from a table, and one division for a row (docs/numerics.md, section 9).

Every function takes NumPy arrays and torch tensors of int64 alike. Nothing here is a float.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.nested import Integers

FRACTION_BITS = 10
"""An exponent is an integer in units of ``2^-10``: its low 10 bits are the fraction, the others the shift."""
POWER_BITS = 30
"""A power ``2^0`` is ``2^30`` in the table."""
FACTOR_BITS = 8
"""A row's factor has 8 bits below those that its powers need."""


def power_table() -> npt.NDArray[np.int64]:
    """``2^30 * 2^(-i / 1024)``, int64 ``[1024]``, by repeated square roots and products (equation 26).

    ``root`` is ``2^30 * 2^(-1/2)``, then ``2^(-1/4)``, ...; entry ``i`` is the product of those that the bits of ``i``
    name, highest first.
    """
    table = np.full(1 << FRACTION_BITS, 1 << POWER_BITS, dtype=np.int64)
    root = 1 << (POWER_BITS - 1)
    for k in reversed(range(FRACTION_BITS)):
        root = isqrt(root << POWER_BITS)
        named = (np.arange(len(table)) >> k) & 1 == 1
        table[named] = (table[named] * root + (1 << (POWER_BITS - 1))) >> POWER_BITS
    return table


def row_bits(count: int) -> int:
    """``P``: the powers of a row of ``count`` values are at most ``2^P``, so that their sum fits 30 bits (eq. 27)."""
    return POWER_BITS - count.bit_length()


def exponents(below: Integers, m: int, shift: int) -> Integers:
    """``t = below * m / 2^shift`` in units of ``2^-10``, rounded half up (equation 25).

    Args:
        below: the row's largest value minus each value, 0 or more; ``below * m < 2^63 - 2^31`` is the caller's proof.
    """
    return (below * m + ((1 << shift) >> 1)) >> shift


def powers(t: Integers, count: int, table: Any) -> Integers:
    """``2^P * 2^-t``, rounded half up (equation 27).

    Args:
        t: of :func:`exponents`.   count: values in a row.   table: :func:`power_table`, an array of the same library.
    """
    right = ((t >> FRACTION_BITS) + (POWER_BITS - row_bits(count))).clip(0, POWER_BITS + 2)
    return (table[t & ((1 << FRACTION_BITS) - 1)] + ((1 << right) >> 1)) >> right


def row_factor(total: Integers, count: int, levels: int | Integers) -> Integers:
    """``floor(levels * 2^Q / total)`` with ``Q = P + 8``: the one division of a row (equation 28).

    Args:
        total: the sum of the row's powers, at least ``2^P``.   levels: the integer that stands for 1.
    """
    one: Any = levels << (row_bits(count) + FACTOR_BITS)
    return one // total


def probabilities(power: Integers, factor: Integers, count: int) -> Integers:
    """``power / total`` as an integer in ``[0, levels]``, rounded half up (equation 29).

    Args:
        power: of :func:`powers`, at most ``2^P``.   factor: the row's :func:`row_factor`.
    """
    shift = row_bits(count) + FACTOR_BITS
    return (power * factor + ((1 << shift) >> 1)) >> shift
