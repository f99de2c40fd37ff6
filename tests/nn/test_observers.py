"""What counts as an outlier."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dqt.nn.observers import OUTLIER_RATIO, STRAY_RATIO, extent_of
from dqt.nn.ranges import OBSERVED


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3))


def test_where_the_outlier_is() -> None:
    x = uniform(100, 3, 4, 4)
    x[70, 2, 1, 0] = -50.0
    extent = extent_of(torch.split(x, 32), "mse")
    o = extent.outlier
    assert o is not None
    assert (o.value, o.batch, o.sample, o.channel, o.count) == (-50.0, 2, 6, 2, 1)
    assert extent.largest == 50.0
    x[70, 2, 1, 0] = 0.0
    assert extent.top == o.others == float(x.max())


@pytest.mark.parametrize(
    ("samples", "wild", "is_outlier"),
    [
        (100, 2, True),  # 2 % of the samples
        (100, 3, False),  # more of them are the data
        (4, 1, True),
        (3, 1, False),  # of three samples none can be told
        (20, 1, True),
    ],
)
def test_how_many_samples_may_be_outliers(samples: int, wild: int, is_outlier: bool) -> None:
    x = uniform(samples, 5) + 0.5
    x[:wild, 1] = 100.0
    assert (extent_of([x], "mse").outlier is not None) == is_outlier


def test_how_large_an_outlier_is() -> None:
    x = uniform(50, 5).clamp_max(0.5)
    usual = float(x.abs().amax(1).sort(descending=True).values[1])
    for factor, is_outlier in ((0.99, False), (1.01, True)):
        x[0, 0] = OUTLIER_RATIO * usual * factor
        assert (extent_of([x], "mse").outlier is not None) == is_outlier


def test_single_values_of_an_input_in_every_sample() -> None:
    """A broken pixel at one place of all images: no sample differs from the others, but its values do."""
    x = uniform(16, 3, 64, 64)
    x[:, 0, 5, 5] = 1000.0  # 16 of 196,608 values are less than 1 in 10,000
    assert extent_of([x], "mse").outlier is None
    o = extent_of([x], "mse", strays=True).outlier
    assert o is not None
    assert (o.count, o.channel, o.value) == (16, 0, 1000.0)
    assert o.others < 1.0 < STRAY_RATIO


def test_single_values_of_an_input_in_some_samples() -> None:
    x = uniform(50, 3, 32, 32)
    for i in range(5):  # a tenth of the samples: more than may be outliers as a whole
        x[10 * i, 2, i, 7 * i % 32] = 1000.0
    assert extent_of([x], "mse").outlier is None
    o = extent_of([x], "mse", strays=True).outlier
    assert o is not None
    assert o.count == 5


@pytest.mark.parametrize("strays", [False, True])
def test_clean_values_have_no_outlier(strays: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(64, 3, 32, 32, generator=generator)
    sparse = torch.zeros(64, 1, 64, 64)
    sparse[torch.arange(64), 0, torch.arange(64), 7] = 1.0  # one bright spot an image
    star = 0.01 * uniform(64, 1, 128, 128)
    star[torch.arange(64), 0, torch.arange(64), 7] = 1.0
    heavy = torch.randn(64, 16, generator=generator).exp()
    for x in (
        normal,
        normal.relu(),
        uniform(64, 3, 32, 32),
        sparse,
        star,
        heavy,
        torch.zeros(64, 4),
        torch.ones(64, 4),
    ):
        extent = extent_of(torch.split(x, 16), "mse", strays=strays)
        assert extent.outlier is None
        assert extent.top == float(x.abs().max())


def test_the_peak_is_what_training_will_see() -> None:
    """Mean of the largest magnitude of groups of samples, outliers saturated: the tracked range starts from it."""
    x = uniform(4 * OBSERVED, 6)
    expected = float(torch.stack([part.max() for part in torch.split(x, OBSERVED)]).double().mean())
    assert extent_of([x], "mse").peak == pytest.approx(expected, rel=1e-6)
    x[0, 0] = 1e4
    found = extent_of([x], "mse")
    assert found.peak <= found.top < 1.0
    assert extent_of([x], "max").peak > 1e3
