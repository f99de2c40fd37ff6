"""Linear interpolation against exact rational arithmetic, and against torch where the weights are exact."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dqt.arith.resize import WEIGHT_BITS, between, neighbours, resized

ONE = 2**WEIGHT_BITS
SIZES = [(1, 1), (1, 5), (5, 1), (2, 4), (3, 7), (7, 3), (8, 64), (64, 8), (5, 5), (13, 17)]


def place(i: int, inputs: int, outputs: int, step: Fraction, *, corners: bool) -> Fraction:
    """Where output ``i`` lies among the inputs."""
    if corners:
        return Fraction(i * (inputs - 1), max(outputs - 1, 1))
    return max((i + Fraction(1, 2)) * step - Fraction(1, 2), Fraction(0))


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
@pytest.mark.parametrize("step", [(0, 0), (2, 3), (7, 2)])
def test_neighbours_are_those_of_the_exact_place(
    inputs: int, outputs: int, step: tuple[int, int], corners: bool
) -> None:
    first, second, weight = neighbours(inputs, outputs, step, corners=corners)
    distance = Fraction(*step) if step[0] else Fraction(inputs, outputs)
    for i in range(outputs):
        exact = place(i, inputs, outputs, distance, corners=corners)
        assert first[i] == min(floor(exact), inputs - 1)
        assert second[i] == min(first[i] + 1, inputs - 1)
        rest = exact - int(first[i])
        assert weight[i] == min(floor(rest * ONE + Fraction(1, 2)), ONE)
        if second[i] > first[i]:
            assert abs(Fraction(int(weight[i]), ONE) - rest) <= Fraction(1, 2 * ONE)


def interpolate(q: np.ndarray, shape: tuple[int, int], *, corners: bool) -> np.ndarray:
    acc = q.astype(np.int64)
    for axis, outputs in enumerate(shape):
        first, second, weight = neighbours(q.shape[axis], outputs, (0, 0), corners=corners)
        weight = weight.reshape(-1, 1) if axis == 0 else weight
        acc = between(acc.take(first, axis), acc.take(second, axis), weight)
    return resized(acc)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_factors_of_two_are_exact(factor: int) -> None:
    q = np.random.default_rng(0).integers(0, 256, (5, 6))
    y = F.interpolate(torch.from_numpy(q)[None, None].double(), scale_factor=factor, mode="bilinear")
    expected = (y[0, 0] + 0.5).floor().numpy()
    np.testing.assert_array_equal(interpolate(q, (5 * factor, 6 * factor), corners=False), expected)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_other_sizes_are_close(inputs: int, outputs: int, corners: bool) -> None:
    """Two weights that are off by 2^-12 each move a code of 255 by less than 1/8; rounding by 1/2."""
    q = np.random.default_rng(1).integers(0, 256, (inputs, inputs))
    x = torch.from_numpy(q)[None, None].double()
    y = F.interpolate(x, size=(outputs, outputs), mode="bilinear", align_corners=corners)[0, 0].numpy()
    assert np.abs(interpolate(q, (outputs, outputs), corners=corners) - y).max() < 0.625


def test_an_output_lies_between_its_inputs() -> None:
    q = np.array([[0, 255], [255, 0]])
    y = interpolate(q, (37, 41), corners=True)
    assert (y.min(), y.max()) == (0, 255)
    assert y[0, 0] == 0
    assert y[0, -1] == 255  # the corner itself: its weight is 2^11
    assert (interpolate(np.full((3, 3), 255), (7, 11), corners=False) == 255).all()
    assert (interpolate(np.full((3, 3), -(2**31) + 1), (7, 11), corners=False) == -(2**31) + 1).all()
