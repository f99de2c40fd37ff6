"""Normalization in integers against exact rationals and integer roots (docs/numerics.md, section 8)."""

from fractions import Fraction
from math import floor, isqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqt.arith.roots import ENERGY_BITS, added_energy, energy, inverse_root, normalize, root_table, row_shift, shifted
from tests.arith.lanes import Int64, integer_only

SMALLEST, LARGEST = 1, 2**ENERGY_BITS - 1
FACT_8 = 2**26


def relative_error(w: int, r: int, doublings: int) -> Fraction:
    """``r * 2^(j - 60) * sqrt(w) - 1``, with 100 bits of the root."""
    root = Fraction(isqrt(w << 200), 1 << 100)
    return r * Fraction(2) ** (doublings - 60) * root - 1


def test_the_error_at_the_ends_of_every_interval_of_the_table() -> None:
    w = [v for i in range(32, 128) for v in (i << 55, (i << 55) + 1, ((i + 1) << 55) - 1)]
    r, doublings = inverse_root(np.array(w, dtype=np.int64), root_table())
    assert not doublings.any()
    errors = [abs(relative_error(a, int(b), 0)) for a, b in zip(w, r, strict=True)]
    assert Fraction(4, 5) < max(errors) * FACT_8 < 1  # the bound is nearly reached


@given(st.integers(0, ENERGY_BITS - 1).flatmap(lambda bits: st.integers(1 << bits, (2 << bits) - 1)))
def test_the_error_of_any_energy(w: int) -> None:
    r, doublings = inverse_root(np.array([w], dtype=np.int64), root_table())
    assert 2**60 <= w << (2 * int(doublings[0])) < 2**62
    assert 2**29 <= int(r[0]) <= 2**30
    assert abs(relative_error(w, int(r[0]), int(doublings[0]))) * FACT_8 < 1


@given(
    st.integers(1, 31).flatmap(lambda n: st.lists(st.integers(1 - 2**n, 2**n - 1), min_size=1, max_size=40)),
    st.booleans(),
    st.integers(0, 2**36),
)
def test_a_normalized_row_is_the_real_one(q: list[int], center: bool, epsilon: int) -> None:
    count = len(q)
    k = int(row_shift(np.int64(max(map(abs, q))), count))
    row: Int64 = shifted(np.array(q, dtype=np.int64), np.full(count, k))
    v = [floor(Fraction(x, 2**k) + Fraction(1, 2)) for x in q]
    assert row.tolist() == v
    assert k == 0 or 2**28 <= (max(map(abs, q)) >> k) * 2 ** count.bit_length() < 2**30
    total = sum(v) if center else 0
    w = energy((row * row).sum(), np.int64(total), count, added_energy(count, epsilon, 32), k)
    exact = Fraction(count * sum(x * x for x in v) - total * total) + Fraction(count * count * epsilon, 2**32 * 4**k)
    assert abs(int(w) - max(exact, Fraction(1))) <= 1  # the rounding of E, and the floor of its shift
    got = normalize(row * count - total, *inverse_root(w, root_table()))
    for x, y in zip(v, got, strict=True):
        assert abs(count * x - total) < 2**31
        real = Fraction((count * x - total) * 2**20) / Fraction(isqrt(int(w) << 200), 1 << 100)
        assert abs(int(y) - real) <= Fraction(1, 2) + abs(real) / FACT_8


@pytest.mark.parametrize("value", [0, 1, -7, 2**25])
def test_a_constant_row_has_no_deviation(value: int) -> None:
    row = np.full(8, value, dtype=np.int64)
    w = energy((row * row).sum(), row.sum(), 8, 0)
    assert int(w) == 1  # not 0, which has no inverse root
    assert not normalize(row * 8 - row.sum(), *inverse_root(w, root_table())).any()


def test_torch_gives_the_same_and_nothing_is_a_float() -> None:
    rng = np.random.default_rng(0)
    w = np.concatenate([[SMALLEST, LARGEST], 2 ** rng.integers(0, 61, 500) + rng.integers(0, 2**30, 500)])
    deviation = rng.integers(-(2**31) + 1, 2**31, len(w))
    table = root_table()
    expected = inverse_root(w, table)
    roots = inverse_root(integer_only(w), integer_only(table))
    tensors = inverse_root(torch.from_numpy(w), torch.from_numpy(table))
    for a, b, c in zip(expected, roots, tensors, strict=True):
        assert a.tolist() == b.tolist() == c.tolist()
    results = [normalize(d, *r) for d, r in ((deviation, expected), (integer_only(deviation), roots))]
    assert results[0].tolist() == results[1].tolist()
    assert normalize(torch.from_numpy(deviation), *tensors).tolist() == results[0].tolist()


def test_a_shift_of_rows_is_the_same_in_torch_and_of_integers() -> None:
    most = np.array([0, 1, 2, 3, 255, 256, 2**15, 2**16 - 1, 2**16, 2**30, 2**31 - 1, 2**31 + 2**15])
    for count in (1, 2, 63, 64, 768, 2**20):
        expected = [max(0, int(x).bit_length() + count.bit_length() - 30) for x in most]
        assert row_shift(most, count).tolist() == expected
        assert row_shift(integer_only(most), count).tolist() == expected
        assert row_shift(torch.from_numpy(most), count).tolist() == expected
