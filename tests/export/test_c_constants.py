"""Constants of exported C: the interval of c in which every output stays the same, and the tables that hold it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dqt.arith.bounds import INT32, Bound
from dqt.export.c99.constants import LIMIT, alike, offsets

LARGEST = 4000
"""Of the multipliers: with a shift of 4 to 13, from many accumulators an output to many outputs an accumulator."""


@pytest.mark.parametrize("seed", range(300))
def test_the_interval_is_all_that_rounds_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shift, lo = int(rng.integers(4, 14)), int(rng.choice([0, -3, 5]))
    hi = lo + int(rng.integers(0, 60))
    m = rng.integers(-LARGEST, LARGEST, 6) >> rng.integers(0, 12, 6)  # falling, rising and, shifted far, 0
    c, bound = (
        rng.integers(-(2 << shift + 6), 2 << shift + 6, 6),
        Bound(-rng.integers(0, 300, 6), rng.integers(0, 300, 6)),
    )
    first, last = alike(m, c, bound, shift, lo, hi)
    assert ((first <= c) & (c <= last)).all()
    for i in range(6):
        acc = np.arange(bound.lo[i], bound.hi[i] + 1)

        def outputs(c: np.int64, m: np.int64 = m[i], acc: Any = acc) -> list[int]:
            found: list[int] = np.clip((acc * m + c) >> shift, lo, hi).tolist()
            return found

        for end, beyond in ((first[i], first[i] - 1), (last[i], last[i] + 1)):
            if abs(end) < LIMIT:  # otherwise no c that is smaller, or larger, changes an output
                assert outputs(end) == outputs(c[i])
                assert outputs(beyond) != outputs(c[i])


def test_tables_take_32_bits_where_outputs_stay_and_48_where_they_would_not() -> None:
    bound, m = Bound(np.array([[-(1 << 20)]]), np.array([[1 << 20]])), np.array([[1 << 23]])
    c = np.array([[(5 << 32) + (1 << 40) // 3]])  # 41 bits with the sign
    narrow = offsets(m, c, bound, 32, 0, 255)
    assert narrow is not None
    assert narrow.low is None
    assert abs(int(narrow.high[0, 0])) <= INT32
    changed = int(narrow.high[0, 0]) * (1 << narrow.up) - int(c[0, 0])
    assert 0 < abs(changed) < 1 << narrow.up
    exact = offsets(m, c, bound, 32, -(1 << 23), 1 << 23)  # integers of 24 bits show every bit of c
    assert exact is not None
    assert exact.low is not None
    assert exact.high[0, 0] * 2**exact.up + exact.low[0, 0] == c[0, 0]
    assert offsets(m, c << 20, bound, 32, -(1 << 23), 1 << 23) is None  # 60 bits
    assert offsets(m, c << 20, bound, 32, 0, 255) is not None  # of which the clamp leaves none
