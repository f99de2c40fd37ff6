"""Elementwise nonlinearities: real functions that become tables of 2^n entries."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "identity": lambda x: x,
    "hardtanh": lambda x, low=-1.0, high=1.0: x.clamp(low, high),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "silu": F.silu,
    "gelu": lambda x, approximate="none": F.gelu(x, approximate=approximate),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
}
"""Name -> function of a real tensor and the constants of the operator."""
