"""torch's answer to what the operators of a program ask of an array library (:mod:`dqt.program.arrays`)."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dqt.arith.bounds import FLOAT32_EXACT


class TensorArrays:
    """Tensors on one device, the whole batch at once."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def constant(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array.copy()).to(self.device)  # a program's arrays are read-only, and tensors never

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
        return torch.empty(shape, dtype=getattr(torch, dtype.name), device=self.device)

    def blocks(self, count: int, elements: int) -> Iterator[slice]:
        return iter((slice(None),))

    def int16(self, q: Tensor) -> Tensor:
        return q.short()

    def int64(self, q: Tensor) -> Tensor:
        return q.long()

    def rint(self, x: Tensor) -> Tensor:
        return x.round()

    def pad(self, q: Tensor, pairs: Sequence[tuple[int, int]], value: int = 0) -> Tensor:
        return F.pad(q, [amount for pair in reversed(pairs) for amount in pair], value=value)

    def repeat(self, q: Tensor, count: int) -> Tensor:
        return q.expand(count, *q.shape)

    def concatenate(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(list(parts), axis)

    def permute(self, q: Tensor, axes: Sequence[int]) -> Tensor:
        return q.permute(tuple(axes))

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)

    def total(self, q: Tensor, axes: tuple[int, ...]) -> Tensor:
        return q.sum(axes, keepdim=True, dtype=torch.int64)

    def largest(self, q: Tensor, axes: tuple[int, ...]) -> Tensor:
        return q.amax(axes, keepdim=True)

    def look_up(self, table: Tensor, q: Tensor, axis: int = 0) -> Tensor:
        return table[q.long()] if axis == 0 else table.index_select(axis, q.long())

    def first_argmax(self, q: Tensor) -> Tensor:
        """torch.argmax does not promise the first on every device."""
        order = torch.arange(q.shape[-1], 0, -1, device=q.device)
        return ((q == q.amax(-1, keepdim=True)).long() * order).argmax(-1)

    def descending(self, q: Tensor) -> Tensor:
        return q.sort(-1, descending=True).values

    def groups(self, chosen: Tensor) -> Iterator[tuple[int, Tensor]]:
        return ((b, (chosen == b).nonzero().flatten()) for b in torch.unique(chosen).tolist())

    def factor(self, weight: npt.NDArray[np.int8], magnitude: int) -> Tensor:
        """float32 where, beside the bound, the processor's convolution is a plain sum of products; float64 elsewhere.

        Of float64 the error of any algorithm, Winograd's too, is far below 1/2: products are rounded.
        """
        return self.constant(weight).to(self._exact(magnitude))

    def _exact(self, magnitude: int) -> torch.dtype:
        plain = magnitude < FLOAT32_EXACT and _plain_sums(self.device)
        return torch.float32 if plain else torch.float64

    def product(self, a: Tensor, b: Tensor, magnitude: int) -> Tensor:
        exact = self._exact(magnitude)
        with torch.autocast(self.device.type, enabled=False):
            return (a.to(exact) @ b.to(exact)).round().long()

    def matmul(self, q: Tensor, factor: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            return F.linear(q.to(factor.dtype), factor).round().long()

    def convolve(
        self, q: Tensor, factor: Tensor, stride: tuple[int, int], dilation: tuple[int, int], groups: int
    ) -> Iterator[tuple[slice, Tensor]]:
        with torch.autocast(self.device.type, enabled=False):
            acc = F.conv2d(q.to(factor.dtype), factor, None, stride, 0, dilation, groups)
        yield slice(None), acc.round().long()


def _plain_sums(device: torch.device) -> bool:
    """Whether float32 products are sums of float32 products: no Winograd transform, no operands rounded to bfloat16.

    True of oneDNN's direct algorithm on x86 at full precision.
    """
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    library: Any = torch.backends.mkldnn
    reduced = {getattr(getattr(library, kind, None), "fp32_precision", "none") for kind in ("conv", "matmul")}
    full = torch.get_float32_matmul_precision() == "highest" and reduced <= {"none", "ieee"}
    return full and bool(library.is_available()) and bool(library.enabled)
