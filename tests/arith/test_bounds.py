"""Bounds are attained, and everything outside them is refused (docs/numerics.md, section 5)."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqt.arith.bounds import INT64, Bound, dot_bound, general_bits, product_fits, signed_bits
from dqt.arith.nested import narrow_activation, narrow_weight, weight_midpoints
from tests.arith.lanes import Int64


def sums(weight: Int64, x: Int64) -> Int64:
    total: Int64 = (weight.reshape(weight.shape[0], -1) * x).sum(axis=1)
    return total


@given(
    weights=st.lists(st.lists(st.integers(-128, 127), min_size=6, max_size=6), min_size=1, max_size=4),
    x_lo=st.integers(-255, 0),
    x_hi=st.integers(0, 255),
)
def test_the_bound_is_attained_by_the_worst_input_of_each_channel(
    weights: list[list[int]], x_lo: int, x_hi: int
) -> None:
    weight = np.array(weights, dtype=np.int64).reshape(-1, 2, 3)
    bound = dot_bound(weight, x_lo, x_hi)
    flat = weight.reshape(len(weights), -1)
    assert np.array_equal(sums(weight, np.where(flat > 0, x_hi, x_lo)), bound.hi)
    assert np.array_equal(sums(weight, np.where(flat > 0, x_lo, x_hi)), bound.lo)
    assert bound.magnitude == max(abs(bound.lo).max(), abs(bound.hi).max())


def test_no_input_passes_the_bound_and_no_partial_sum_does() -> None:
    weight = np.array([[-3, 2, 0], [1, 1, -1]])
    bound = dot_bound(weight, -2, 3)
    for x in itertools.product(range(-2, 4), repeat=3):
        for taps in range(4):
            partial = sums(weight[:, :taps], np.array(x[:taps]))
            assert (partial >= bound.lo).all()
            assert (partial <= bound.hi).all()


@pytest.mark.parametrize("b", range(1, 9))
def test_narrowed_weights_and_inputs_stay_inside(b: int) -> None:
    rng = np.random.default_rng(b)
    q = rng.integers(-128, 128, size=(4, 6, 3, 3))
    weight = narrow_weight(q, 8, b, weight_midpoints(8, b, q.shape).astype(np.int64))
    for z in (0, 128):
        bound = dot_bound(weight, -z, 255 - z)
        x = narrow_activation(rng.integers(0, 256, size=(50, 1, 54)), 8, b) - z
        acc = (weight.reshape(4, -1) * x).sum(axis=2)
        assert (acc >= bound.lo).all()
        assert (acc <= bound.hi).all()
        assert bound.bits <= general_bits(8, 54)


@pytest.mark.parametrize(
    ("lo", "hi", "bits"),
    [
        (0, 0, 1),
        (-1, 0, 1),
        (0, 1, 2),
        (-128, 127, 8),  # the ends of int8
        (-129, 0, 9),  # one below
        (0, 128, 9),  # one above
        (-(2**31), 2**31 - 1, 32),  # the ends of int32
        (0, 2**31, 33),
    ],
)
def test_signed_bits(lo: int, hi: int, bits: int) -> None:
    assert signed_bits(lo, hi) == bits
    assert Bound(np.array([lo]), np.array([hi])).bits == bits


@pytest.mark.parametrize("n", range(2, 9))
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 576, 577, 1024, 1025])  # powers of two and their neighbours
def test_the_general_bound_holds_for_the_worst_layer(n: int, taps: int) -> None:
    weight = np.full((1, taps), -(2 ** (n - 1)), dtype=np.int64)
    for z in (0, 2 ** (n - 1)):
        assert dot_bound(weight, -z, 2**n - 1 - z).bits <= general_bits(n, taps)
    assert general_bits(n, taps) == 2 * n + int(np.ceil(np.log2(taps)))


def test_an_empty_layer_has_an_empty_bound() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    bound = Bound(nothing, nothing)
    assert (bound.magnitude, bound.bits) == (0, 1)


def test_product_fits_up_to_the_last_unit() -> None:
    acc, m = 2**31 - 1, 2**31 - 1
    room = INT64 - acc * m
    lo, hi = np.array([-5]), np.array([acc])
    assert product_fits(lo, hi, np.array([m], dtype=np.int32), np.array([room]))
    assert not product_fits(lo, hi, np.array([m], dtype=np.int32), np.array([room + 1]))
    assert not product_fits(lo, hi, np.array([-m], dtype=np.int32), np.array([-room - 1]))  # signs do not help
    assert product_fits(np.array([-(2**40)]), hi, np.array([2**22], dtype=np.int32), np.array([0]))
    assert not product_fits(np.array([-(2**41)]), hi, np.array([2**22], dtype=np.int32), np.array([0]))  # 2^63
