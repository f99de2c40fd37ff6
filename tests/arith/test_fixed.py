"""Requantization against exact rational arithmetic (docs/numerics.md, section 3)."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqt.arith.fixed import C_MAX, M_MAX, SHIFT, choose_shift, multiplier, offset, requantize
from tests.arith.lanes import Int64, integer_only

UNIT = 2**32  # one output step at S = 32
HALF = 2**31


def exact(acc: int, m: int, c: int, shift: int, lo: int, hi: int) -> int:
    """Equation 8 in rationals: ``c`` holds the half, so the floor rounds half up."""
    return min(max(floor(Fraction(acc * m + c, 2**shift)), lo), hi)


@pytest.mark.parametrize(
    ("acc", "m", "c", "y"),
    [
        (0, 1, HALF, 0),  # the half alone does not reach the next integer
        (1, HALF, HALF, 1),  # exact tie 1/2 goes up to 1
        (-1, HALF, HALF, 0),  # exact tie -1/2 goes up to 0
        (-3, HALF, HALF, -1),  # exact tie -3/2 goes up to -1
        (3, HALF, HALF, 2),  # exact tie 3/2 goes up to 2
        (1, HALF - 1, HALF, 0),  # the smallest amount below a tie
        (-1, HALF - 1, HALF, 0),  # the smallest amount above a tie
        (-1, HALF + 1, HALF, -1),  # the smallest amount below the tie -1/2
        (7, 0, HALF + 5 * UNIT, 5),  # a dead channel is its bias
        (2**31 - 1, 2**31 - 1, 0, 127),  # the largest product, clamped
        (-(2**31), 2**31 - 1, 0, -128),  # the smallest, clamped
    ],
)
def test_ties_go_up_and_the_ends_clamp(acc: int, m: int, c: int, y: int) -> None:
    got = requantize(np.array([acc]), np.int64(m), np.int64(c), 32, -128, 127)
    assert got.tolist() == [y]
    assert exact(acc, m, c, 32, -128, 127) == y


@given(
    acc=st.integers(-(2**31), 2**31 - 1),
    m=st.integers(-M_MAX, M_MAX),
    c=st.integers(-(2**61), 2**61),
    shift=st.integers(1, 32),
    signed=st.booleans(),
)
def test_requantize_is_the_rational_floor(acc: int, m: int, c: int, shift: int, signed: bool) -> None:
    lo, hi = (-(2**23) + 1, 2**23 - 1) if signed else (0, 255)
    got = requantize(np.array([acc]), np.int64(m), np.int64(c), shift, lo, hi)
    assert got.dtype == np.int64
    assert got.tolist() == [exact(acc, m, c, shift, lo, hi)]


@given(
    acc=st.integers(-(2**31), 2**31 - 1),
    scale=st.floats(2.0**-40, 2.0**10),
    bias=st.floats(-1000, 1000),
    zero=st.sampled_from([0, 128]),
)
def test_the_error_of_requantization(acc: int, scale: float, bias: float, zero: int) -> None:
    shift = choose_shift(scale)
    m, c = int(multiplier(scale, shift)), int(offset(bias, zero, shift))
    wanted = acc * Fraction(scale) + Fraction(bias) + zero
    assert abs(((acc * m + c) >> shift) - wanted) <= Fraction(1, 2) + Fraction(abs(acc) + 1, 2 ** (shift + 1))


@pytest.mark.parametrize(
    ("scale", "shift"),
    [
        (0.0, 32),  # a dead channel
        (0.25, 32),
        (0.5 - 2.0**-32, 32),  # rounds to 2^31 - 1: the last that fits
        (0.5 - 2.0**-34, 31),  # rounds to 2^31: one too large
        (0.5, 31),
        (1.0, 30),
        (-1.0, 30),  # the magnitude counts
        (2.0**29, 1),
        (2.0**30 - 0.5, 1),  # the last scale that fits
    ],
)
def test_choose_shift_at_its_edges(scale: float, shift: int) -> None:
    assert choose_shift(scale) == shift
    assert abs(int(multiplier(scale, shift))) <= M_MAX
    if shift < SHIFT:  # and no larger shift would do
        assert round(abs(scale) * 2.0 ** (shift + 1)) > M_MAX


@given(st.lists(st.floats(-(2.0**29), 2.0**29), min_size=1, max_size=5))
def test_one_shift_serves_every_channel(scales: list[float]) -> None:
    shift = choose_shift(scales)
    for scale, m in zip(scales, multiplier(scales, shift).tolist(), strict=True):
        assert abs(m) <= M_MAX
        assert abs(Fraction(m, 2**shift) - Fraction(scale)) <= Fraction(1, 2 ** (shift + 1))


@pytest.mark.parametrize("scale", [2.0**30, 1e300])
def test_a_scale_that_is_too_large_is_an_error(scale: float) -> None:
    with pytest.raises(ValueError, match="is too large: the output's range is far below its input's"):
        choose_shift([0.1, scale])


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -float("inf")])
def test_a_scale_that_is_not_finite_is_an_error(scale: float) -> None:
    with pytest.raises(ValueError, match="requantization scale is not finite"):
        choose_shift([0.1, scale])


def test_offset_is_bias_half_and_zero() -> None:
    assert offset([0.0, 1.0, -2.5], 128, 32).tolist() == [
        HALF + 128 * UNIT,
        HALF + 129 * UNIT,
        HALF + 128 * UNIT - 5 * UNIT // 2,
    ]
    assert offset(0.0, 0, 1).tolist() == 1  # the half of S = 1
    assert offset([0.0], 0, 32).dtype == np.int64


def test_offset_at_its_end() -> None:
    last = 2.0**30 - 513  # |bias| * 2^32 < 2^62 - 2^41, with 2^41 = 512 steps kept for the zero point and the half
    assert abs(int(offset(last, 255, 32))) < C_MAX
    assert abs(int(offset(-last, 0, 32))) < C_MAX
    for bias in (2.0**30 - 512, -(2.0**30), float("inf"), float("nan")):
        with pytest.raises(ValueError, match="output steps does not fit the 64-bit offset"):
            offset([0.0, bias], 0, 32)


def sample() -> tuple[Int64, Int64, Int64]:
    rng = np.random.default_rng(0)
    acc = rng.integers(-(2**31), 2**31, size=(50, 8))
    return acc, rng.integers(-M_MAX, M_MAX + 1, size=8), rng.integers(-(2**61), 2**61, size=8)


def test_torch_gives_the_same_bits() -> None:
    acc, m, c = sample()
    for shift in (1, 17, 32):
        expected = requantize(acc, m, c, shift, -1000, 1000)
        got = requantize(torch.from_numpy(acc), torch.from_numpy(m), torch.from_numpy(c), shift, -1000, 1000)
        assert got.dtype == torch.int64
        assert np.array_equal(got.numpy(), expected)


def test_requantize_touches_no_float() -> None:
    acc, m, c = sample()
    got = requantize(integer_only(acc), integer_only(m), integer_only(c), 32, 0, 255)
    assert got.dtype == np.int64
