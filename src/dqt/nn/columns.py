"""Windows of an image as columns, and columns as an image again: what ``F.unfold`` and ``F.fold`` give, as nodes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from dqt.nn.moves import placed, reshaped, taken, transposed
from dqt.nn.window import geometry

if TYPE_CHECKING:
    from dqt.nn.capture import Builder


def windows(b: Builder, call: fx.Node) -> str:
    """Append the windows of an image as columns, ``(C * KH * KW, OH * OW)``."""
    x = b.value(call, call.args[0])
    channels, *sides = b.captured.shapes[x]
    kernel, dilation, padding, stride = (geometry(b.arg(call, i, ""), 2) for i in range(1, 5))
    around, shape = (0, *padding), (channels, *(d + 2 * p for d, p in zip(sides, padding, strict=True)))
    if any(padding):
        x = b.add(call, "pad", [x], quantizer="same", shape=shape, attrs={"before": around, "after": around})
    counts = []
    for i, length in enumerate(shape[1:]):
        counts.append((length - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1)
        places = [k * dilation[i] + o * stride[i] for k in range(kernel[i]) for o in range(counts[i])]
        x = taken(b, call, x, 1 + i, places)
    parts = reshaped(b, call, x, (channels, kernel[0], counts[0], kernel[1], counts[1]))
    return reshaped(b, call, transposed(b, call, parts, (0, 1, 3, 2, 4)), b.shape(call))


def joined(b: Builder, call: fx.Node) -> str:
    """Append the image that columns ``(C * KH * KW, L)`` are windows of: where windows overlap, they are added."""
    x = b.value(call, call.args[0])
    size, kernel, dilation, padding, stride = (geometry(call.args[i], 2) for i in range(1, 6))
    sources = _sources(size, kernel, dilation, padding, stride)
    channels, columns = b.shape(call)[0], b.captured.shapes[x][-1]
    taps = math.prod(kernel) * columns
    x = reshaped(b, call, x, (channels, taps))
    if bool((sources == taps).any()):
        attrs = {"before": (0, 0), "after": (0, 1)}
        x = b.add(call, "pad", [x], quantizer="same", shape=(channels, taps + 1), attrs=attrs)
    stride_of_channel = b.captured.shapes[x][-1]
    where = torch.arange(channels).reshape(-1, 1, 1) * stride_of_channel + sources
    x = placed(b, call, x, where)
    if len(sources) > 1:
        one = (channels, 1, math.prod(size))
        x = b.add(call, "mean", [x], attrs={"axes": (1,), "divides": False}, shape=one)
    return reshaped(b, call, x, b.shape(call))


def _sources(
    size: tuple[int, ...], kernel: tuple[int, ...], dilation: tuple[int, ...], padding: tuple[int, ...],
    stride: tuple[int, ...],
) -> Tensor:  # fmt: skip
    """For each pixel the places in the columns of one channel that are added, int64 ``[most, pixels]``.

    A pixel of fewer than the most has the place behind the last column for the rest.
    """
    numbers = torch.arange(1.0, 1 + math.prod(size), dtype=torch.float64).reshape(1, 1, *size)
    read = F.unfold(numbers, kernel, dilation, padding, stride).long().flatten() - 1  # the pixel of each place
    places: list[list[int]] = [[] for _ in range(math.prod(size))]
    for place, pixel in enumerate(read.tolist()):
        if pixel >= 0:
            places[pixel].append(place)
    most = max(1, *map(len, places))
    return torch.tensor([each + [len(read)] * (most - len(each)) for each in places]).t()
