"""Layers that are a 2-d convolution in a program: how their filters lie there.

A fold gives, for each output channel ``[O, I / groups, ...]``, one filter or several in a row, and takes them back.
Midpoints are those of the program's filters (docs/numerics.md, equation 5), since those are what is narrowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dqt.arith.nested import weight_midpoints

Shape = tuple[int, ...]


class Fold:
    """Filters lie as they do in the layer."""

    def filters(self, weight: Tensor) -> Tensor:
        """``[O * copies, I / groups, ...]`` of a program's layer from ``[O, I / groups, ...]`` of the network's."""
        return weight

    def weight(self, filters: Tensor, shape: Shape) -> Tensor:
        """Back: what stands in ``filters`` at the place of each weight of ``shape``."""
        return filters.reshape(shape)

    def midpoints(self, n: int, b: int, shape: Shape) -> Tensor:
        """``h_b``, int8, to broadcast over a weight of ``shape``."""
        return torch.from_numpy(weight_midpoints(n, b, shape))

    def _tap_midpoints(self, n: int, b: int, shape: Shape) -> Tensor:
        """Of a program's filters with one input channel, whose taps are counted in their own order."""
        folded = self.filters(torch.empty(shape, device="meta")).shape
        return self.weight(torch.from_numpy(weight_midpoints(n, b, tuple(folded))).expand(folded), shape)


class Flipped(Fold):
    """The taps in reverse: a transposed convolution as a convolution of an image with zeros between its pixels."""

    def filters(self, weight: Tensor) -> Tensor:
        """See :meth:`Fold.filters`."""
        return weight.flip(tuple(range(2, weight.dim())))

    def weight(self, filters: Tensor, shape: Shape) -> Tensor:
        """See :meth:`Fold.weight`."""
        return filters.flip(tuple(range(2, filters.dim()))).reshape(shape)

    def midpoints(self, n: int, b: int, shape: Shape) -> Tensor:
        """See :meth:`Fold.midpoints`."""
        return self._tap_midpoints(n, b, shape) if shape[1] == 1 else super().midpoints(n, b, shape)


@dataclass(frozen=True)
class Phases(Fold):
    """A transposed convolution whose kernel is a multiple of its stride, as a convolution for each phase of the output.

    Output pixel ``y * stride + phase`` reads the taps ``a * stride + phase``, and the input at ``y - a``. So phases are
    filters of ``kernel / stride`` taps, in reverse: no product with a zero that stands between pixels.
    """

    stride: Shape

    def filters(self, weight: Tensor) -> Tensor:
        """``[O * phases, I / groups, kernel / stride]``, the phases of one channel in a row."""
        dims = len(self.stride)
        split = [size for k, s in zip(weight.shape[2:], self.stride, strict=True) for size in (k // s, s)]
        taps, phases = [2 + 2 * i for i in range(dims)], [3 + 2 * i for i in range(dims)]
        parts = weight.reshape(*weight.shape[:2], *split).flip(taps)
        return parts.permute(0, *phases, 1, *taps).flatten(0, dims)

    def weight(self, filters: Tensor, shape: Shape) -> Tensor:
        """See :meth:`Fold.weight`."""
        dims = len(self.stride)
        parts = filters.reshape(shape[0], *self.stride, *filters.shape[1:])
        order = [0, 1 + dims, *(axis for i in range(dims) for axis in (2 + dims + i, 1 + i))]
        return parts.permute(order).flip([2 + 2 * i for i in range(dims)]).reshape(shape)

    def midpoints(self, n: int, b: int, shape: Shape) -> Tensor:
        """See :meth:`Fold.midpoints`."""
        return self._tap_midpoints(n, b, shape) if shape[1] == 1 else super().midpoints(n, b, shape)


class Deep(Fold):
    """A 3-d convolution as one over rows: depth and height of its window are channels, ``[O, I * KD * KH, 1, KW]``."""

    def filters(self, weight: Tensor) -> Tensor:
        """See :meth:`Fold.filters`."""
        return weight.reshape(weight.shape[0], math.prod(weight.shape[1:4]), 1, weight.shape[4])

    def midpoints(self, n: int, b: int, shape: Shape) -> Tensor:
        """See :meth:`Fold.midpoints`. The index counts the channels that depth and height of the window are, too."""
        channels = math.prod(shape[1:4])
        if channels == 1:
            return self._tap_midpoints(n, b, shape)
        return torch.from_numpy(weight_midpoints(n, b, (shape[0], channels))).reshape(1, *shape[1:4], 1)
