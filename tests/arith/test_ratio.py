"""Constants with which float32 rounds as integers do, against exact rationals (docs/numerics.md, section 12)."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqt.arith.fixed import SHIFT, multiplier, offset, requantize
from dqt.arith.ratio import LARGEST, ROOM, code_constants, fraction_near, nearest_odd

Ints = npt.NDArray[np.int64]
CODES = ((0, 0, 255), (128, 0, 255), (98, 0, 255), (255, 0, 255), (0, 0, 192), (8, 0, 15), (1, 0, 3))
"""Zero point and clamp of a result."""


def fraction_of(scale: float, reach: int) -> Fraction:
    """The ``a / b`` of equation 38."""
    a, b = (int(part[0]) for part in fraction_near(np.array([abs(scale)]), reach))
    return Fraction(a, b) if scale > 0 else -Fraction(a, b)


def guaranteed(ratio: Fraction, reach: int) -> bool:
    """The conditions of equation 38 and of fact 13."""
    a, b = abs(ratio).numerator, ratio.denominator
    off = abs(round(abs(ratio) * 2**SHIFT) * b - a * 2**SHIFT)
    return bool(b % 2 and b * reach < ROOM and reach * b * off < 2 ** (SHIFT - 1) * a and 2 * a <= b)


def in_float32(n: Ints, ratio: Fraction, zero: int, lo: int, hi: int) -> Ints:
    """What an engine makes of sums with their bias: products in float32, rounded half to even."""
    real = n.astype(np.float32) * np.float32(float(ratio))
    assert real.dtype == np.float32
    return (np.rint(real.astype(np.float64)).astype(np.int64) + zero).clip(lo, hi)


def in_rationals(n: int, ratio: Fraction, zero: int, lo: int, hi: int) -> int:
    return min(max(round(n * ratio) + zero, lo), hi)


def near_thresholds(ratio: Fraction, zero: int, lo: int, hi: int) -> Ints:
    """All sums within 2 of those at which a code begins or ends, and some far outside."""
    begins = [(k - zero - Fraction(1, 2)) / ratio for k in range(lo + 1, hi + 1)]
    near = [t + i for begin in begins for t in (floor(begin), ceil(begin)) for i in range(-2, 3)]
    far = [sign * (2**k + i) for sign in (-1, 1) for k in (20, 22, 24, 25, 30) for i in (-1, 0, 1)]
    return np.array(sorted({0, *near, *far}), dtype=np.int64)


def check(scale: float, bias: float, zero: int, lo: int, hi: int, sums: Ints | None = None) -> None:
    """Integers, float32 and rationals give the same codes of ``sums``, or next to every threshold."""
    made = code_constants([scale], [bias], SHIFT, zero, lo, hi)
    m, c = (int(part[0]) for part in made)
    reach = max(zero - lo, hi - zero)
    ratio = fraction_of(scale, reach)
    assert guaranteed(ratio, reach)
    assert m == round(2**SHIFT * ratio)
    steps, rest = divmod(c - (1 << (SHIFT - 1)) - (zero << SHIFT), m)
    assert rest == 0
    assert abs(Fraction(steps * m, 2**SHIFT) - Fraction(bias)) <= abs(Fraction(m, 2 ** (SHIFT + 1))) + Fraction(
        1, 2**40
    )
    n = near_thresholds(ratio, zero, lo, hi) if sums is None else sums
    found = requantize(n - steps, m, c, SHIFT, lo, hi)
    assert np.array_equal(found, in_float32(n, ratio, zero, lo, hi))
    assert found.tolist() == [in_rationals(int(each), ratio, zero, lo, hi) for each in n]


@given(
    scale=st.floats(2.0**-10, LARGEST),
    bias=st.floats(-300, 300),
    codes=st.sampled_from(CODES),
    falls=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_float32_gives_the_codes_of_the_integers_at_every_threshold(
    scale: float, bias: float, codes: tuple[int, int, int], falls: bool
) -> None:
    check(-scale if falls else scale, bias, *codes)


@pytest.mark.parametrize(("scale", "bias"), [(0.125, 0.3), (-0.0371, 12.7), (0.01234, -3.01), (0.00391, 60.5)])
@pytest.mark.parametrize("codes", CODES)
def test_float32_gives_the_codes_of_the_integers_at_every_sum(
    scale: float, bias: float, codes: tuple[int, int, int]
) -> None:
    zero, lo, hi = codes
    last = int(1.1 * (hi - lo + 1) / abs(scale))
    check(scale, bias, zero, lo, hi, np.arange(-last, last + 1))


@pytest.mark.parametrize(("low", "share"), [(2e-4, 1.0), (1.5e-4, 0.999), (1e-4, 0.9)])
def test_small_multipliers_have_the_guarantee_as_a_rule(low: float, share: float) -> None:
    """Of 8-bit codes after a ReLU, where a fraction is hardest to find."""
    rng = np.random.default_rng(5)
    scales = np.exp(rng.uniform(np.log(low), np.log(2.0**-10), 400)).tolist()
    assert sum(guaranteed(fraction_of(scale, 255), 255) for scale in scales) >= share * len(scales)


@pytest.mark.parametrize(
    ("low", "high", "off"),
    [(1e-2, LARGEST, 6.2e-5), (1e-3, 1e-2, 6.5e-5), (2e-4, 1e-3, 1e-3), (1e-5, 2e-4, 8e-3), (2.0**-31, 1e-5, 0.1)],
)
@pytest.mark.parametrize("reach", [255, 128, 15])
def test_the_fraction_is_next_to_the_multiplier(low: float, high: float, off: float, reach: int) -> None:
    scale = np.exp(np.random.default_rng(6).uniform(np.log(low), np.log(high), 4000))
    a, b = fraction_near(scale, reach)
    away = np.abs(a / (b * scale) - 1)
    assert (away <= off).all()
    if low >= 1e-3:
        assert np.median(away) < 1e-5


def test_no_tried_fraction_is_nearer() -> None:
    """By brute force over the numerators and over every odd denominator."""
    reach, most = 255, (ROOM - 1) // 255
    for scale in np.random.default_rng(7).uniform(1e-3, LARGEST, 40):
        largest = floor(scale * most)
        tried = [Fraction(a, b) for a in range(max(1, largest - 15), largest + 1) for b in range(1, most + 1, 2)
                 if abs(b - a / scale) <= 2]  # fmt: skip
        best = min(abs(each - Fraction(scale)) for each in tried)
        assert abs(fraction_of(scale, reach) - Fraction(scale)) == best


@given(x=st.floats(0, 2.0**40))
def test_nearest_odd(x: float) -> None:
    odd = int(nearest_odd(np.array([x]))[0])
    assert odd % 2 == 1
    assert abs(Fraction(odd) - Fraction(x)) <= 1


@pytest.mark.parametrize(
    ("scale", "zero", "lo", "hi"),
    [
        (0.126, 0, 0, 255),  # a rounded bias would be an error of more than 1/16 of a code
        (0.01, -3, 0, 255),  # the zero point is no code
        (0.01, 0, 0, 0),  # a constant
        (2.0**-34, 0, 0, 255),  # a dead channel
        (0.0, 0, 0, 255),
    ],
)
def test_others_keep_the_nearest_multiplier_and_offset(scale: float, zero: int, lo: int, hi: int) -> None:
    m, c = code_constants([scale], [0.37], SHIFT, zero, lo, hi)
    assert m.tolist() == multiplier([scale], SHIFT).tolist()
    assert c.tolist() == offset([0.37], zero, SHIFT).tolist()


def test_channels_of_all_kinds_side_by_side() -> None:
    """Shapes and types stay, and each channel is what it is alone."""
    rng = np.random.default_rng(8)
    scale = np.exp(rng.uniform(np.log(1e-9), np.log(0.4), (3, 50))) * rng.choice([1, -1, 0], (3, 50), p=[0.6, 0.3, 0.1])
    bias = rng.normal(size=(3, 50)) * 40
    m, c = code_constants(scale, bias, SHIFT, 128, 0, 255)
    assert [part.shape for part in (m, c)] == [(3, 50)] * 2
    assert [str(part.dtype) for part in (m, c)] == ["int32", "int64"]
    alone = [code_constants([r], [each], SHIFT, 128, 0, 255) for r, each in zip(scale.flat, bias.flat, strict=True)]
    assert m.flatten().tolist() == [int(pair[0][0]) for pair in alone]
    assert c.flatten().tolist() == [int(pair[1][0]) for pair in alone]


def test_a_bias_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        code_constants([0.01], [2.0**31], SHIFT, 0, 0, 255)


def test_a_layer_with_a_large_multiplier_keeps_its_own() -> None:
    m, c = code_constants([0.7, 0.01], [0.37, 1.2], 31, 0, 0, 255)
    assert m.tolist() == multiplier([0.7, 0.01], 31).tolist()
    assert c.tolist() == offset([0.37, 1.2], 0, 31).tolist()
