"""Normalization in integers against exact rationals and integer roots (docs/numerics.md, section 8)."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqt.arith.roots import ENERGY_BITS, energy, inverse_root, normalize, root_table
from tests.arith.lanes import integer_only

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


@given(st.lists(st.integers(-(2**15) + 1, 2**15 - 1), min_size=1, max_size=40), st.booleans(), st.integers(0, 2**36))
def test_a_normalized_row_is_the_real_one(v: list[int], center: bool, epsilon: int) -> None:
    row = np.array(v, dtype=np.int64)
    count, total = len(v), sum(v) if center else 0
    w = energy((row * row).sum(), np.int64(total), count, epsilon)
    exact = Fraction(count * sum(x * x for x in v) - total * total) + Fraction(count * count * epsilon, 2**32)
    assert abs(int(w) - max(exact, Fraction(1))) <= Fraction(1, 2)
    got = normalize(row * count - total, *inverse_root(w, root_table()))
    for x, y in zip(v, got, strict=True):
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
    deviation = rng.integers(-(2**32) + 1, 2**32, len(w))
    table = root_table()
    expected = inverse_root(w, table)
    roots = inverse_root(integer_only(w), integer_only(table))
    tensors = inverse_root(torch.from_numpy(w), torch.from_numpy(table))
    for a, b, c in zip(expected, roots, tensors, strict=True):
        assert a.tolist() == b.tolist() == c.tolist()
    results = [normalize(d, *r) for d, r in ((deviation, expected), (integer_only(deviation), roots))]
    assert results[0].tolist() == results[1].tolist()
    assert normalize(torch.from_numpy(deviation), *tensors).tolist() == results[0].tolist()
