"""Pixels: every layout gives the same inputs, and what cannot be pixels of a program is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dqt.program.interpret import InputError
from dqt.program.pixels import pixels_to_inputs, with_batch
from dqt.program.program import Program
from dqt.testing import Builder

MEAN, STD = [0.25, 0.5, 0.75], [0.5, 0.25, 2.0]


def colour(shape: tuple[int, ...] = (3, 4, 5), channels: int = 3) -> Program:
    b = Builder(1, shape)
    program = b.build(b.linear(b.flatten("v0"), 2, integers=True))
    return replace(program, info={"mean": MEAN[:channels], "std": STD[:channels]})


def pixels(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_each_channel_gets_its_own_constants() -> None:
    planes = pixels(2, 3, 4, 5)
    expected = np.stack(
        [
            (planes[:, c].astype(np.float32) / np.float32(255) - np.float32(MEAN[c])) / np.float32(STD[c])
            for c in range(3)
        ],
        axis=1,
    )
    found = pixels_to_inputs(colour(), planes)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_channels_may_come_last() -> None:
    planes = pixels(2, 3, 4, 5)
    found = pixels_to_inputs(colour(), np.ascontiguousarray(planes.transpose(0, 2, 3, 1)))
    assert np.array_equal(found, pixels_to_inputs(colour(), planes))
    assert found.flags.c_contiguous


def test_channels_come_first_where_a_shape_could_be_both() -> None:
    planes = pixels(1, 3, 3, 3)
    expected = (planes[0, 2].astype(np.float32) / np.float32(255) - np.float32(0.75)) / np.float32(2.0)
    assert np.array_equal(pixels_to_inputs(colour((3, 3, 3)), planes)[0, 2], expected)


def test_one_channel_may_be_left_out() -> None:
    program = colour((1, 4, 5), 1)
    planes = pixels(2, 1, 4, 5)
    for same in (planes[:, 0], planes[:, 0, :, :, None]):
        assert np.array_equal(pixels_to_inputs(program, same), pixels_to_inputs(program, planes))


def test_samples_that_are_no_images_have_channels_first() -> None:
    b = Builder(1, (3, 6))
    program = replace(b.build(b.linear(b.flatten("v0"), 2, integers=True)), info={"mean": MEAN, "std": STD})
    samples = pixels(2, 3, 6)
    expected = (samples[:, 1].astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    assert np.array_equal(pixels_to_inputs(program, samples)[:, 1], expected)


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5, 3)])
def test_a_single_sample_gets_a_batch_dimension(shape: tuple[int, ...]) -> None:
    assert with_batch(pixels(*shape), (3, 4, 5)).shape == (1, *shape)
    assert with_batch(pixels(7, *shape), (3, 4, 5)).shape == (7, *shape)
    with pytest.raises(
        InputError, match=r"no batch dimension: pass \[N, 3, 4, 5\] or \[N, 4, 5, 3\], such as x\[None\]"
    ):
        pixels_to_inputs(colour(), pixels(*shape))


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 3, 5, 4), (2, 1, 4, 5), (2, 4, 3, 5), (5,), ()])
def test_other_shapes_are_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"shape \[{', '.join(map(str, shape))}\]: this program takes \[N, 3, 4, 5\]"):
        pixels_to_inputs(colour(), pixels(*shape))


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(InputError, match="pixels of dtype int64: need uint8"):
        pixels_to_inputs(colour(), pixels(1, 3, 4, 5).astype(np.int64))
