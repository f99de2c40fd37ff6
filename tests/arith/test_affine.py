"""Integer addition and multiplication of codes, and the nested dot product (docs/numerics.md, sections 2 and 4)."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqt.arith.affine import (
    AddConstants,
    MultiplyConstants,
    add,
    add_constants,
    dot_from_codes,
    multiply,
    multiply_constants,
)
from dqt.arith.fixed import M_MAX
from dqt.arith.nested import code_floor, code_nearest, midpoints, narrow_activation, narrow_weight
from tests.arith.lanes import WIDTHS, Int64, integer_only, masters

WIDE = (-(2**62), 2**62)  # a clamp that never acts, to see the rounding alone
ZEROS = st.sampled_from([0, 128])
STEPS = st.floats(2.0**-10, 2.0**4)


def slack(shift: int) -> Fraction:
    """The epsilon of fact 7: half a unit of the multiplier, and the float64 quotient of the scales."""
    return (Fraction(1, 2) + Fraction(1, 2**20)) / 2**shift


def grid() -> tuple[Int64, Int64]:
    """All pairs of 8-bit codes, as ``[256, 1]`` and ``[1, 256]``."""
    q = masters(8, signed=False)
    return q[:, None], q[None, :]


@given(step1=STEPS, step2=STEPS, step=STEPS, zero1=ZEROS, zero2=ZEROS, zero=ZEROS, data=st.data())
def test_the_error_of_addition(
    step1: float, step2: float, step: float, zero1: int, zero2: int, zero: int, data: st.DataObject
) -> None:
    k = add_constants(step1, zero1, step2, zero2, step, zero)
    q1, q2 = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255))
    exact = (Fraction(step1) * (q1 - zero1) + Fraction(step2) * (q2 - zero2)) / Fraction(step) + zero
    got = int(add(np.array([q1]), np.array([q2]), k, *WIDE)[0])
    assert abs(got - exact) <= Fraction(1, 2) + (abs(q1 - zero1) + abs(q2 - zero2)) * slack(k.shift)
    assert max(abs(k.k1), abs(k.k2)) <= M_MAX


@given(step1=STEPS, step2=STEPS, step=STEPS, zero1=ZEROS, zero2=ZEROS, zero=ZEROS, data=st.data())
def test_the_error_of_multiplication(
    step1: float, step2: float, step: float, zero1: int, zero2: int, zero: int, data: st.DataObject
) -> None:
    k = multiply_constants(step1, zero1, step2, zero2, step, zero)
    q1, q2 = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255))
    exact = Fraction(step1) * Fraction(step2) * (q1 - zero1) * (q2 - zero2) / Fraction(step) + zero
    got = int(multiply(np.array([q1]), np.array([q2]), k, *WIDE)[0])
    assert abs(got - exact) <= Fraction(1, 2) + abs((q1 - zero1) * (q2 - zero2)) * slack(k.shift)
    assert abs(k.k1) <= M_MAX


@pytest.mark.parametrize(("zero1", "zero2", "zero"), [(0, 0, 0), (128, 128, 128), (0, 128, 0), (128, 0, 128)])
def test_dyadic_addition_is_exact_for_every_pair(zero1: int, zero2: int, zero: int) -> None:
    q1, q2 = grid()
    got = add(q1, q2, add_constants(0.5, zero1, 0.25, zero2, 1.0, zero), 0, 255)
    # In quarters of the result's step; half up is a floor after adding one half (2 quarters).
    quarters = 2 * (q1 - zero1) + (q2 - zero2) + 4 * zero
    assert np.array_equal(got, ((quarters + 2) // 4).clip(0, 255))


@pytest.mark.parametrize(("zero1", "zero2", "zero"), [(0, 0, 0), (128, 128, 128), (0, 128, 0), (128, 0, 128)])
def test_dyadic_multiplication_is_exact_for_every_pair(zero1: int, zero2: int, zero: int) -> None:
    q1, q2 = grid()
    got = multiply(q1, q2, multiply_constants(0.25, zero1, 0.5, zero2, 1.0, zero), 0, 255)
    eighths = (q1 - zero1) * (q2 - zero2) + 8 * zero
    assert np.array_equal(got, ((eighths + 4) // 8).clip(0, 255))


def test_the_half_of_the_bounds_is_attained() -> None:
    one, zero = np.array([1]), np.array([0])
    assert add(one, zero, add_constants(0.5, 0, 0.5, 0, 1.0, 0), *WIDE).tolist() == [1]  # exactly 1/2 goes up
    assert multiply(one, one, multiply_constants(0.5, 0, 1.0, 0, 1.0, 0), *WIDE).tolist() == [1]  # the same


def test_constants_are_what_the_equations_say() -> None:
    half, unit = 2**29, 2**30  # a scale of 1 needs S = 30
    assert add_constants(1.0, 3, 0.5, 5, 1.0, 7) == AddConstants(
        k1=unit, k2=half, k3=7 * unit + half - 3 * unit - 5 * half, shift=30
    )
    assert multiply_constants(1.0, 3, 1.0, 5, 1.0, 7) == MultiplyConstants(
        k1=unit, k2=-5 * unit, k3=-3 * unit, k4=15 * unit + 7 * unit + half, shift=30
    )


def test_addition_and_multiplication_touch_no_float_and_torch_gives_the_same_bits() -> None:
    q1, q2 = grid()
    t1, t2 = torch.from_numpy(q1), torch.from_numpy(q2)
    for steps in ((0.013, 0.021, 0.03), (3.7, 0.002, 1.0)):
        ka = add_constants(steps[0], 128, steps[1], 0, steps[2], 128)
        km = multiply_constants(steps[0], 0, steps[1], 128, steps[2], 0)
        summed, product = add(q1, q2, ka, 0, 255), multiply(q1, q2, km, 0, 255)
        assert add(integer_only(q1), integer_only(q2), ka, 0, 255).dtype == np.int64
        assert multiply(integer_only(q1), integer_only(q2), km, 0, 255).dtype == np.int64
        assert np.array_equal(add(t1, t2, ka, 0, 255).numpy(), summed)
        assert np.array_equal(multiply(t1, t2, km, 0, 255).numpy(), product)


def direct_dot(w: Int64, x: Int64, *, n: int, bw: int, ba: int, z: int) -> Int64:
    """The definition: narrow both masters, subtract the zero, multiply, sum."""
    total: Int64 = (narrow_weight(w, n, bw, midpoints(n, bw, w.shape[-1])) * (narrow_activation(x, n, ba) - z)).sum(-1)
    return total


@pytest.mark.parametrize(("n", "bw"), [(n, b) for n, b in WIDTHS if n <= 3])
@pytest.mark.parametrize("taps", [1, 2])
def test_dot_from_codes_for_every_small_input(n: int, bw: int, taps: int) -> None:
    weights = np.array(list(itertools.product(masters(n, signed=True), repeat=taps)))
    inputs = np.array(list(itertools.product(masters(n, signed=False), repeat=taps)))
    w, x = (a.reshape(-1, taps) for a in np.broadcast_arrays(weights[:, None], inputs[None, :]))
    for ba, z in itertools.product(range(1, n + 1), (0, 2 ** (n - 1))):
        got = dot_from_codes(code_floor(w, n, bw), code_nearest(x, n, ba), n=n, bw=bw, ba=ba, z=z)
        assert np.array_equal(got, direct_dot(w, x, n=n, bw=bw, ba=ba, z=z))


@pytest.mark.parametrize("taps", [1, 3, 64, 577])  # odd and even counts: the number of odd taps is taps // 2
def test_dot_from_codes_for_large_random_input(taps: int) -> None:
    rng = np.random.default_rng(taps)
    for bw, ba, z in itertools.product(range(1, 9), range(1, 9), (0, 128)):
        w, x = rng.integers(-128, 128, size=(5, taps)), rng.integers(0, 256, size=(5, taps))
        got = dot_from_codes(code_floor(w, 8, bw), code_nearest(x, 8, ba), n=8, bw=bw, ba=ba, z=z)
        assert got.dtype == np.int64
        assert np.array_equal(got, direct_dot(w, x, n=8, bw=bw, ba=ba, z=z))


def test_dot_from_codes_touches_no_float() -> None:
    w, x = integer_only(np.array([[1, -2, 3]])), integer_only(np.array([[0, 1, 3]]))
    assert dot_from_codes(w, x, n=8, bw=3, ba=2, z=128).dtype == np.int64
