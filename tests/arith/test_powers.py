"""Softmax in integers against the real one (docs/numerics.md, section 9)."""

from fractions import Fraction
from itertools import pairwise
from math import e, exp, log2

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqt.arith.fixed import choose_shift, multiplier
from dqt.arith.powers import exponents, power_table, powers, probabilities, row_bits, row_factor
from tests.arith.lanes import integer_only


def softmax(q: list[int], m: int, shift: int, levels: int) -> list[int]:
    row = np.array(q, dtype=np.int64)
    power = powers(exponents(row.max() - row, m, shift), len(q), power_table())
    assert 2 ** row_bits(len(q)) == power.max()
    assert power.sum() < 2**30
    return [int(y) for y in probabilities(power, row_factor(power.sum(), len(q), levels), len(q))]


def test_the_table_holds_powers_of_two() -> None:
    table = [int(v) for v in power_table()]
    assert table[0] == 2**30
    assert table[512] == 759250124  # floor(2^30 / sqrt 2): the first root
    assert all(a > b for a, b in pairwise(table))
    for i, v in enumerate(table):  # v <= 2^(30 - i/1024) < v (1 + 2^-26), to the power of 1024
        assert v**1024 <= 2 ** (30 * 1024 - i)
        assert (v * (1 + Fraction(1, 2**26))) ** 1024 > 2 ** (30 * 1024 - i)


@pytest.mark.parametrize(("q", "levels", "y"), [([4], 255, [255]), ([4, 4], 255, [128, 128]), ([1, 1, 1], 15, [5] * 3)])
def test_equal_values_share_equally(q: list[int], levels: int, y: list[int]) -> None:
    assert softmax(q, 1 << 30, 20, levels) == y  # 127.5 is a tie, and goes up


def test_what_is_far_below_the_maximum_is_0() -> None:
    assert softmax([-(2**31) + 1, 2**31 - 1], 2**31 - 1, 32, 255) == [0, 255]  # the largest product of (25)
    assert softmax([0, 9 * 1024], 1 << 30, 30, 255) == [0, 255]  # 2^-9 of 255 rounds down
    assert softmax([0, 8 * 1024], 1 << 30, 30, 255) == [1, 254]  # 2^-8 / (1 + 2^-8) of 255 is 0.99


@given(
    st.lists(st.integers(-32767, 32767), min_size=1, max_size=60),
    st.floats(2.0**-12, 0.5),
    st.sampled_from([1, 15, 255, 32767]),
)
def test_the_error_is_within_its_bound(q: list[int], scale: float, levels: int) -> None:
    ratio = scale * log2(e) * 1024
    shift = choose_shift(ratio)
    real = np.array([exp((v - max(q)) * scale) for v in q])
    error = np.abs(np.array(softmax(q, int(multiplier(ratio, shift)), shift, levels)) - levels * real / real.sum())
    bound = 0.5 + 2.0**-8 + levels * (2.0**-11 + (len(q) + 1) * 2.0 ** -(row_bits(len(q)) + 1))
    assert error.max() <= bound


def test_torch_gives_the_same_and_nothing_is_a_float() -> None:
    rng = np.random.default_rng(0)
    below, table = rng.integers(0, 2**17, (20, 50)), power_table()
    expected = powers(exponents(below, 3 << 28, 28), 50, table)
    for q, t in ((integer_only(below), integer_only(table)), (torch.from_numpy(below), torch.from_numpy(table))):
        power = powers(exponents(q, 3 << 28, 28), 50, t)
        assert power.tolist() == expected.tolist()
        total = power.sum(-1).reshape(20, 1)
        plain = expected.sum(-1, keepdims=True)
        y = probabilities(power, row_factor(total, 50, 255), 50)
        assert y.tolist() == probabilities(expected, row_factor(plain, 50, 255), 50).tolist()
