"""Nested codes, exhaustively: every master width, width, code, sign and rule (docs/numerics.md, section 1)."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqt.arith.affine import real
from dqt.arith.nested import (
    code_floor,
    code_nearest,
    limits,
    midpoint,
    midpoints,
    narrow_activation,
    narrow_weight,
    nearest_weight,
    saturated_weight,
    shift_of,
    signed_zero,
    weight_midpoints,
)
from tests.arith.lanes import MASTERS, WIDTHS, integer_only, masters

SIGNS = (False, True)


def master(u: Fraction, n: int, *, signed: bool) -> int:
    """Equation 1 on ``u = x / step + zero``: Python rounds a Fraction half to even."""
    lo, hi = limits(n, signed=signed)
    return min(max(round(u), lo), hi)


def floor_quantizer(u: Fraction, n: int, b: int, *, signed: bool) -> int:
    """An independent b-bit quantizer of step ``2^s`` whose range starts half a master step below the master's."""
    lo, hi = limits(n, signed=signed)
    step = 2 ** (n - b)
    code = floor((u - (lo - Fraction(1, 2))) / step) + lo // step
    return min(max(code, lo // step), (hi + 1) // step - 1)


@pytest.mark.parametrize(("n", "b"), [(n, b) for n, b in WIDTHS if b < n])
@pytest.mark.parametrize("signed", SIGNS)
def test_shifting_is_quantizing_anew(n: int, b: int, signed: bool) -> None:
    lo, hi = limits(n, signed=signed)
    # Quarter steps meet every tie (k + 1/2) and both its sides; three steps beyond the ends meet saturation.
    for quarter in range(4 * (lo - 3), 4 * (hi + 3) + 1):
        u = Fraction(quarter, 4)
        assert master(u, n, signed=signed) >> shift_of(n, b) == floor_quantizer(u, n, b, signed=signed)


@given(u=st.fractions(-300, 300), signed=st.booleans(), pair=st.sampled_from([(n, b) for n, b in WIDTHS if b < n]))
def test_shifting_is_quantizing_anew_for_any_real(u: Fraction, signed: bool, pair: tuple[int, int]) -> None:
    n, b = pair
    assert code_floor(master(u, n, signed=signed), n, b) == floor_quantizer(u, n, b, signed=signed)


@pytest.mark.parametrize("n", MASTERS)
@pytest.mark.parametrize("signed", SIGNS)
def test_the_master_is_itself(n: int, signed: bool) -> None:
    q = masters(n, signed=signed)
    assert np.array_equal(code_floor(q, n, n), q)
    assert np.array_equal(narrow_weight(q, n, n, midpoint(n, n, 1)), q)
    if not signed:
        assert np.array_equal(narrow_activation(q, n, n), q)


@pytest.mark.parametrize("n", MASTERS)
def test_limits(n: int) -> None:
    assert limits(n, signed=True) == (-(2 ** (n - 1)), 2 ** (n - 1) - 1)
    assert limits(n, signed=False) == (0, 2**n - 1)


@pytest.mark.parametrize(("n", "b"), [(8, 0), (8, 9), (9, 8), (4, 5), (0, 0)])
def test_a_width_outside_the_master_is_an_error(n: int, b: int) -> None:
    with pytest.raises(ValueError, match=f"width b={b} of master n={n}: need 1 <= b <= n <= 8"):
        shift_of(n, b)


@pytest.mark.parametrize(("n", "b"), WIDTHS)
@pytest.mark.parametrize("signed", SIGNS)
def test_midpoint_codes_and_range(n: int, b: int, signed: bool) -> None:
    q, (lo, hi), s = masters(n, signed=signed), limits(n, signed=signed), n - b
    for i in (0, 1):
        t = narrow_weight(q, n, b, midpoint(n, b, i))
        assert np.array_equal(t >> s, q >> s)  # the code that is read back is the code
        assert t.min() >= lo
        assert t.max() <= hi
        assert np.unique(t).size == 2**b


@pytest.mark.parametrize(("n", "b"), WIDTHS)
def test_nearest_codes_against_fractions(n: int, b: int) -> None:
    s = n - b
    for q in masters(n, signed=False).tolist():
        half_up = floor(Fraction(q, 2**s) + Fraction(1, 2))
        code = min(half_up, 2**b - 1)
        assert int(code_nearest(np.int64(q), n, b)) == code
        assert int(narrow_activation(np.int64(q), n, b)) == code * 2**s


@pytest.mark.parametrize(("n", "b"), WIDTHS)
def test_zero_stays_on_every_grid(n: int, b: int) -> None:
    zeros = np.array([0, signed_zero(n)], dtype=np.int64)
    assert np.array_equal(narrow_activation(zeros, n, b), zeros)


@pytest.mark.parametrize("n", MASTERS)
@pytest.mark.parametrize("signed", SIGNS)
def test_midpoint_widths_compose(n: int, signed: bool) -> None:
    q = masters(n, signed=signed)
    for b in range(1, n + 1):
        for a in range(1, b + 1):
            for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
                direct = narrow_weight(q, n, a, midpoint(n, a, i))
                by_way_of_b = narrow_weight(narrow_weight(q, n, b, midpoint(n, b, j)), n, a, midpoint(n, a, i))
                assert np.array_equal(by_way_of_b, direct)


@pytest.mark.parametrize("n", MASTERS)
def test_nearest_does_not_compose_by_exactly_one_code_just_below_ties(n: int) -> None:
    q = masters(n, signed=False)
    for b in range(1, n + 1):
        for a in range(1, b):
            sa, sb = n - a, n - b
            excess = code_nearest(narrow_activation(q, n, b), n, a) - code_nearest(q, n, a)
            tie, reach = 2 ** (sa - 1), 2**sb // 2
            below_tie = (q % 2**sa >= tie - reach) & (q % 2**sa < tie)
            expected = below_tie & (code_nearest(q, n, a) < 2**a - 1)
            assert np.array_equal(excess, expected.astype(np.int64))
            assert excess.sum() == (2**a - 1) * reach


@pytest.mark.parametrize(("n", "b"), [(n, b) for n, b in WIDTHS if b < n])
@pytest.mark.parametrize("signed", SIGNS)
def test_the_midpoint_error_bound_is_tight(n: int, b: int, signed: bool) -> None:
    q, half = masters(n, signed=signed), 2 ** (n - b - 1)
    even = narrow_weight(q, n, b, midpoint(n, b, 0)) - q
    odd = narrow_weight(q, n, b, midpoint(n, b, 1)) - q
    assert (even.min(), even.max()) == (-(half - 1), half)
    assert (odd.min(), odd.max()) == (-half, half - 1)
    bins = even.reshape(2**b, -1).sum(axis=1)
    assert np.array_equal(bins, np.full(2**b, half))
    assert not (bins + odd.reshape(2**b, -1).sum(axis=1)).any()  # balanced over a pair


@pytest.mark.parametrize(("n", "b"), [(n, b) for n, b in WIDTHS if b < n])
def test_the_nearest_error_bound_is_tight(n: int, b: int) -> None:
    q, s = masters(n, signed=False), n - b
    error = narrow_activation(q, n, b) - q
    inside, saturated = error[q <= 2**n - 2 ** (s - 1)], error[q > 2**n - 2 ** (s - 1)]
    assert (inside.min(), inside.max()) == (-(2 ** (s - 1)), 2 ** (s - 1))
    assert saturated.size == 2 ** (s - 1) - 1
    if saturated.size:  # at s = 1 no master lies beyond
        assert (saturated.min(), saturated.max()) == (-(2**s - 1), -(2 ** (s - 1) + 1))
        assert error[-1] == -(2**s - 1)  # attained at the top of the range


@pytest.mark.parametrize(("n", "b"), WIDTHS)
@pytest.mark.parametrize("zero", [0, 1])
def test_the_error_in_real_values(n: int, b: int, zero: int) -> None:
    q, step, s = masters(n, signed=False), 0.375, n - b  # a dyadic step: the real values are exact
    z = zero * signed_zero(n)
    exact = real(q, step, z)
    narrowed = real(narrow_activation(q, n, b), step, z)
    assert np.abs(narrowed - exact).max() == step * (2**s - 1)
    assert np.array_equal(exact, step * (q - z))


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_midpoints_alternate(count: int) -> None:
    # s = 1 gives 1, 0, 1, ...; s = 3 gives 4, 3, 4, ...; s = 0 gives zeros
    for b, pair in ((7, (1, 0)), (5, (4, 3)), (8, (0, 0))):
        h = midpoints(8, b, count)
        assert h.dtype == np.int8
        assert h.tolist() == [pair[i & 1] for i in range(count)]


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((5, 3), 1),  # linear: the input
        ((5, 1), 1),  # linear with one input: still the input
        ((4, 6, 3, 3), 1),  # convolution: the input channel
        ((4, 1, 3, 3), None),  # depthwise: the tap, row-major
        ((4, 1, 5), None),  # depthwise, one dimension
        ((4, 2, 5), 1),
    ],
)
def test_weight_midpoints_broadcast(shape: tuple[int, ...], axis: int | None) -> None:
    h = weight_midpoints(8, 4, shape)
    assert h.dtype == np.int8
    full = np.broadcast_to(h, shape)
    for index in np.ndindex(*shape):
        i = index[axis] if axis is not None else int(np.ravel_multi_index(index[2:], shape[2:]))
        assert full[index] == midpoint(8, 4, i)


@pytest.mark.parametrize(("n", "b"), WIDTHS)
def test_no_float_between_widths(n: int, b: int) -> None:
    lane = masters(n, signed=True).astype(np.int8)
    weight = narrow_weight(integer_only(lane), n, b, weight_midpoints(n, b, (2**n, 1)).reshape(-1))
    assert weight.dtype == np.int8  # the weight stays in its lane
    codes = integer_only(masters(n, signed=False).astype(np.int16))
    for function in (code_floor, code_nearest, narrow_activation):
        assert function(codes, n, b).dtype == np.int16


def test_the_array_that_refuses_floats_does_refuse() -> None:
    q = integer_only(np.arange(4))
    with pytest.raises(TypeError, match="kind 'f'"):
        q / 2
    with pytest.raises(TypeError, match="kind 'f'"):
        q * 0.5


@pytest.mark.parametrize(("n", "b"), WIDTHS)
@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_torch_gives_the_same_bits(n: int, b: int, dtype: torch.dtype) -> None:
    signed, unsigned = masters(n, signed=True), masters(n, signed=False)
    h = midpoints(n, b, signed.size)
    weight = narrow_weight(torch.from_numpy(signed).to(dtype), n, b, torch.from_numpy(h).to(dtype))
    assert weight.dtype == dtype
    assert np.array_equal(weight.numpy(), narrow_weight(signed, n, b, h))
    for function in (code_floor, code_nearest, narrow_activation):
        got = function(torch.from_numpy(unsigned).to(dtype), n, b)
        assert got.dtype == dtype
        assert np.array_equal(got.numpy(), function(unsigned, n, b))
    assert np.array_equal(code_floor(torch.from_numpy(signed), n, b).numpy(), code_floor(signed, n, b))


EXPONENTS = [(n, b, e) for n, b in WIDTHS for e in range(min(2, n - b) + 1)]


@pytest.mark.parametrize(("n", "b", "e"), [(8, 8, 1), (8, 7, 2), (8, 2, 3), (4, 2, -1), (2, 1, 2)])
def test_an_exponent_outside_is_an_error(n: int, b: int, e: int) -> None:
    with pytest.raises(ValueError, match="exponent"):
        shift_of(n, b, e)


@pytest.mark.parametrize(("n", "b", "e"), EXPONENTS)
@pytest.mark.parametrize("parity", [0, 1])
def test_weights_of_a_part_of_the_range(n: int, b: int, e: int, parity: int) -> None:
    """Equation 34: inside the part, narrowing from a master of ``n - e`` bits; outside, its ends."""
    half = 2 ** (n - 1 - e)
    q = masters(n, signed=True).astype(np.int16)
    got = narrow_weight(q, n, b, midpoint(n, b, parity, e), e)
    inside = np.clip(q, -half, half - 1)
    assert np.array_equal(saturated_weight(q, n, e), inside)
    assert np.array_equal(got, narrow_weight(inside, n - e, b, midpoint(n - e, b, parity)))
    assert got.min() >= -half
    assert got.max() <= half - 1


@pytest.mark.parametrize(("n", "b", "e"), EXPONENTS)
def test_nearest_weights_against_fractions(n: int, b: int, e: int) -> None:
    """Equation 35: rounded half up to a multiple of ``2^s``, saturated to b-bit codes, and 0 stays 0."""
    half, unit = 2 ** (n - 1 - e), 2 ** (n - b - e)
    q = masters(n, signed=True).astype(np.int16)
    for weight, got in zip(q.tolist(), nearest_weight(q, n, b, e).tolist(), strict=True):
        inside = min(max(weight, -half), half - 1)
        code = floor(Fraction(inside, unit) + Fraction(1, 2))
        assert got == min(max(code, -(2 ** (b - 1))), 2 ** (b - 1) - 1) * unit
    assert int(nearest_weight(np.zeros(1, np.int16), n, b, e)[0]) == 0


@pytest.mark.parametrize(("n", "b", "e"), EXPONENTS)
def test_activations_of_a_part_of_the_range_keep_their_zero(n: int, b: int, e: int) -> None:
    """Equation 36 and fact 10, at every zero point on the grid; with ``e = 0`` it is equation 6, whatever the zero."""
    q, grid = masters(n, signed=False).astype(np.int16), 2 ** (n - b)
    for zero in range(0, 2**n, grid):
        got = narrow_activation(q, n, b, e, zero)
        assert got[zero] == zero
        assert got.min() >= 0
        assert got.max() <= 2**n - 1
        start, unit = zero - zero // 2**e, 2 ** (n - b - e)
        for code, narrow in zip(q.tolist(), got.tolist(), strict=True):
            inside = min(max(code - start, 0), 2 ** (n - e) - 1)
            assert narrow == min(floor(Fraction(inside, unit) + Fraction(1, 2)), 2**b - 1) * unit + start
        if e == 0:
            assert np.array_equal(got, narrow_activation(q, n, b))


@pytest.mark.parametrize(("n", "b", "e"), EXPONENTS)
def test_the_bound_holds_for_any_zero(n: int, b: int, e: int) -> None:
    """Fact 11, zero points far outside of the codes included."""
    q = masters(n, signed=False).astype(np.int64)
    for zero in (*range(-(2**n), 2 ** (n + 1), 3), -(2**15), 2**15):
        reached = narrow_activation(q, n, b, e, zero) - zero
        assert reached.min() >= min(0, -zero)
        assert reached.max() <= max(0, 2**n - 1 - zero)


@pytest.mark.parametrize(("n", "b", "e"), EXPONENTS)
def test_no_float_between_widths_of_a_part(n: int, b: int, e: int) -> None:
    signed, unsigned = (integer_only(masters(n, signed=s).astype(np.int16)) for s in (True, False))
    nearest_weight(signed, n, b, e)
    narrow_weight(signed, n, b, midpoint(n, b, 0, e), e)
    narrow_activation(unsigned, n, b, e, 2 ** (n - 1))
