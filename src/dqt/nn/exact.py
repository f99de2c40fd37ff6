"""The integer forms that need more than one line of torch. Codes are int32 tensors on any device."""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor

from dqt.arith.bounds import FLOAT32_EXACT
from dqt.arith.fixed import requantize
from dqt.arith.nested import narrow_activation, narrow_weight, weight_midpoints
from dqt.arith.plan import Pair
from dqt.nn.integers import AverageIntegers, LayerIntegers
from dqt.nn.layers import WidthLayer


def layer(module: WidthLayer, k: LayerIntegers, x: Tensor, pair: Pair) -> Tensor:
    """``requantize(sum T(w) * (T(x) - z))`` at widths ``pair`` (docs/numerics.md, equations 4, 6 and 8).

    Args:
        x: master codes, int32 ``[N, ...]``.

    Returns:
        codes (or wide integers), int32.
    """
    bw, ba = pair
    n = module.n
    h = torch.from_numpy(weight_midpoints(n, bw, k.weight.shape)).to(x.device).int()
    weight = narrow_weight(torch.from_numpy(k.weight).to(x.device).int(), n, bw, h)
    acc = integer_product(module, narrow_activation(x, n, ba) - k.zero, weight, k.magnitude)
    row = 0 if len(k.m) == 1 else k.widths.index(min(pair))
    shape = (-1, *(1 for _ in range(acc.dim() - 2))) if k.weight.ndim > 2 else (-1,)
    m, c = (torch.from_numpy(v[row].copy()).to(x.device).long().reshape(shape) for v in (k.m, k.c))
    return requantize(acc, m, c, k.shift, k.out.lo, k.out.hi).int()


def integer_product(module: WidthLayer, x: Tensor, weight: Tensor, magnitude: int) -> Tensor:
    """The layer's product of integers, int64, exact.

    Computed in float32 where the bound proves every partial sum below 2^24 and the processor's convolution is a plain
    sum of products (x86: oneDNN's direct algorithm, at full precision); otherwise in float64, whose error is far below
    1/2 for any algorithm, and rounded.
    """
    dtype = torch.float32 if magnitude < FLOAT32_EXACT and _plain_sums(x.device) else torch.float64
    with torch.autocast(x.device.type, enabled=False):
        return module.apply_weight(x.to(dtype), weight.to(dtype), None).round().long()


def _plain_sums(device: torch.device) -> bool:
    """Whether float32 products are sums of float32 products: no Winograd transform, no operands rounded to bfloat16."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    library: Any = torch.backends.mkldnn
    reduced = {getattr(getattr(library, kind, None), "fp32_precision", "none") for kind in ("conv", "matmul")}
    full = torch.get_float32_matmul_precision() == "highest" and reduced <= {"none", "ieee"}
    return full and bool(library.is_available()) and bool(library.enabled)


def average(k: AverageIntegers, x: Tensor) -> Tensor:
    """Window sums of ``q - zero``, requantized; int32 ``[N, C, OH, OW]`` or ``[N, C, OW]``."""
    flat = x.unsqueeze(2) if x.dim() == 3 else x
    sums = (flat.long() - k.zero).cumsum(2).cumsum(3)
    sums = torch.nn.functional.pad(sums, (1, 0, 1, 0))
    rows, columns = (torch.from_numpy(v).to(x.device).long() for v in (k.rows, k.columns))
    high = sums[:, :, rows[:, 1]] - sums[:, :, rows[:, 0]]
    acc = high[:, :, :, columns[:, 1]] - high[:, :, :, columns[:, 0]]
    m, c = (torch.from_numpy(v).to(x.device).long() for v in (k.m, k.c))
    y = requantize(acc, m, c, k.shift, k.lo, k.hi).int()
    return y.squeeze(2) if x.dim() == 3 else y


def first_argmax(logits: Tensor) -> Tensor:
    """The first index of the largest value of each row: torch.argmax does not promise the first on every device."""
    count = logits.shape[-1]
    order = torch.arange(count, 0, -1, device=logits.device)
    return ((logits == logits.amax(-1, keepdim=True)).long() * order).argmax(-1)
