"""What each output of a layer reads, as rows: a convolution is a matrix product of its patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dqt.nn.layers import Conv, Frames, Linear, WidthLayer

MOST_ELEMENTS = 1 << 24
"""Of the patches that are made at once."""


def has_patches(layer: WidthLayer) -> bool:
    """Whether :func:`patches` knows the layer."""
    return type(layer) in (Conv, Linear) and not isinstance(layer, Frames)


def groups_of(layer: WidthLayer) -> int:
    """How many groups of outputs read channels of their own."""
    return layer.groups if isinstance(layer, Conv) else 1


def patches(layer: WidthLayer, x: Tensor, rows: Tensor | None) -> Tensor:
    """``[groups, rows, in]``, the inputs in the order of ``weight.flatten(1)``.

    Args:
        x: what the layer reads, real.
        rows: int64, which positions of every sample; None: all.
    """
    if not isinstance(layer, Conv):
        flat = x.reshape(len(x), -1, x.shape[-1])
        return (flat if rows is None else flat[:, rows]).reshape(1, -1, x.shape[-1])
    flat, kernel = (x[:, :, None] if x.dim() == 3 else x), layer.weight.shape[2:]
    stride, dilation = ((1, *each) if len(each) == 1 else each for each in (layer.stride, layer.dilation))
    top, bottom, left, right = layer.padding if len(layer.padding) == 4 else (0, 0, *layer.padding)
    padded = F.pad(flat, (left, right, top, bottom))
    size = (1, *kernel) if len(kernel) == 1 else tuple(kernel)
    parts = []
    row = positions(layer, x) * layer.weight[0].numel() * layer.groups
    for some in torch.split(padded, max(1, MOST_ELEMENTS // row)):
        columns = F.unfold(some, size, dilation, 0, stride)  # [N, channels * taps, positions]
        columns = columns if rows is None else columns[:, :, rows]
        parts.append(columns.reshape(len(some), layer.groups, -1, columns.shape[-1]).permute(1, 0, 3, 2))
    return torch.cat(parts, 1).reshape(layer.groups, -1, layer.weight[0].numel())


def positions(layer: WidthLayer, x: Tensor) -> int:
    """How many outputs of one channel a sample has."""
    if not isinstance(layer, Conv):
        return x[0].numel() // x.shape[-1]
    return layer.apply_weight(x[:1], layer.weight, None)[0, 0].numel()
