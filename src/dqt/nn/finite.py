"""Parameters must be numbers: the checks that name the one that is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dqt.nn.errors import UnsupportedError
from dqt.nn.layers import WidthLayer
from dqt.nn.norms import Norm

if TYPE_CHECKING:
    from dqt.nn.net import Net


def check_finite(net: Net) -> None:
    """Check that every parameter and buffer is a number, and every variance one that batch norm can divide by.

    Raises:
        UnsupportedError: names the first that is not.
    """
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise UnsupportedError(f"{name} is {tensor.dtype}: a prepared network computes in float32, make it that")
        check_numbers(name, tensor)
    for layer in net.modules():
        if isinstance(layer, WidthLayer) and tuple(layer.weight.shape) != layer.shape:
            raise UnsupportedError(
                f"{layer.name}.weight has shape {list(layer.weight.shape)}, and the network was prepared with "
                f"{list(layer.shape)}: change the float model and prepare it again"
            )
    for path, norm in net.named_modules():
        if isinstance(norm, Norm):
            for name, tensor in norm.named_buffers(path):
                if name.endswith("running_var"):
                    check_variance(name, tensor, norm.eps)


def check_numbers(name: str, tensor: Tensor) -> None:
    """Raise :class:`UnsupportedError` unless every element is finite in float32."""
    if not tensor.is_floating_point():
        return
    wrong = ~torch.isfinite(tensor.detach().float())
    if bool(wrong.any()):
        raise UnsupportedError(
            f"{name} holds NaN or infinity, or a number beyond float32, in {int(wrong.sum())} of {tensor.numel()} "
            "places: mend it, or go back to a checkpoint where it is finite"
        )


def check_variance(name: str, variance: Tensor, eps: float) -> None:
    """Raise :class:`UnsupportedError` unless ``variance + eps`` is positive everywhere."""
    least = float(variance.detach().double().min()) if variance.numel() else 1.0
    if least + eps <= 0:
        raise UnsupportedError(f"{name} is {least:g}: with eps {eps:g} a variance must stay above 0")
