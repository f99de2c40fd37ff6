"""Folds are one to one, and their convolutions are those of torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dqt.arith.nested import weight_midpoints
from dqt.nn.folds import Deep, Flipped, Fold, Phases

FOLDS = [
    (Fold(), (4, 3, 3, 2)),
    (Flipped(), (4, 3, 3, 2)),
    (Flipped(), (4, 3, 5)),
    (Flipped(), (4, 1, 3, 2)),
    (Phases((2, 3)), (4, 3, 4, 3)),
    (Phases((2,)), (4, 3, 6)),
    (Phases((2, 2)), (4, 1, 4, 4)),
    (Phases((1, 1)), (4, 3, 3, 3)),
    (Deep(), (4, 3, 2, 3, 4)),
    (Deep(), (4, 1, 1, 1, 3)),
]


@pytest.mark.parametrize(("fold", "shape"), FOLDS)
def test_a_fold_is_taken_back(fold: Fold, shape: tuple[int, ...]) -> None:
    weight = torch.arange(torch.Size(shape).numel()).reshape(shape)
    filters = fold.filters(weight)
    assert filters.numel() == weight.numel()
    torch.testing.assert_close(fold.weight(filters, shape), weight)
    folded = fold.filters(fold.midpoints(8, 3, shape).expand(shape))
    expected = torch.from_numpy(weight_midpoints(8, 3, tuple(filters.shape))).expand(filters.shape)
    torch.testing.assert_close(folded, expected)


def test_phases_are_a_transposed_convolution() -> None:
    x, weight = torch.randn(2, 3, 5, 6), torch.randn(4, 3, 4, 3)
    y = F.conv2d(x, Phases((2, 3)).filters(weight), padding=(1, 0))
    parts = y.reshape(2, 4, 2, 3, 6, 6).permute(0, 1, 4, 2, 5, 3).reshape(2, 4, 12, 18)
    torch.testing.assert_close(parts, F.conv_transpose2d(x, weight.transpose(0, 1), stride=(2, 3)))


def test_flipped_taps_are_a_transposed_convolution() -> None:
    x, weight = torch.randn(2, 3, 5, 6), torch.randn(4, 3, 3, 2)
    wide = torch.zeros(2, 3, 9, 16)
    wide[:, :, ::2, ::3] = x
    y = F.conv2d(F.pad(wide, (1, 1, 2, 2)), Flipped().filters(weight))
    torch.testing.assert_close(y, F.conv_transpose2d(x, weight.transpose(0, 1), stride=(2, 3)))


def test_deep_filters_are_a_3d_convolution() -> None:
    x, weight = torch.randn(2, 3, 4, 5, 6), torch.randn(4, 3, 2, 3, 4)
    windows = x.unfold(2, 2, 1).unfold(3, 3, 1)  # [N, C, OD, OH, W, KD, KH]
    image = windows.permute(0, 1, 5, 6, 2, 3, 4).reshape(2, 18, 9, 6)
    y = F.conv2d(image, Deep().filters(weight))
    torch.testing.assert_close(y.reshape(2, 4, 3, 3, 3), F.conv3d(x, weight), rtol=1e-4, atol=1e-4)
