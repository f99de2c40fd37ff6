"""The memory order of images in training: NHWC ("channels last") where it is safe and faster, NCHW elsewhere.

Decided here and nowhere else, once for all that reads the same batches: the network, its teacher, the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dqt.nn.layers import Conv

FAST = ("AVX2", "AVX512")
"""Processors on which training in NHWC was measured, and is 4 to 13 % faster than in NCHW (digits, ResNet-20)."""
SAFE_CHANNELS = 16
"""Input channels of a group from which a strided 1x1 convolution trains in NHWC on a processor.

With fewer, training in this order ended in a crash of torch 2.13 on a processor with AVX2 and without AVX-512. AVX-512
is not known to fail, but shares the bound.
"""


def memory_order(device: torch.device, wanted: bool, *modules: nn.Module) -> torch.memory_format:
    """The order in which ``modules`` train together on ``device``.

    Args:
        wanted: what the recipe asks for, ``Recipe.channels_last``; False: NCHW.
    """
    last = wanted and (device.type != "cpu" or (_is_faster() and all(map(_is_safe, modules))))
    return torch.channels_last if last else torch.contiguous_format


def arranged(x: Tensor, order: torch.memory_format) -> Tensor:
    """``x`` in ``order``; an order of images says nothing of a tensor without height and width, which stays."""
    return x.contiguous(memory_format=order) if x.dim() == 4 else x


def arrange(module: nn.Module, order: torch.memory_format) -> None:
    """Put the weights of ``module`` into ``order``, in place: torch's convolutions follow their weights, too."""
    if order is torch.channels_last:
        module.to(memory_format=order)  # type: ignore[call-overload]
        return
    for parameter in module.parameters():
        # A 1x1 kernel is contiguous in either order, so torch would leave it; its strides tell the order all the same.
        if parameter.stride() != torch.empty(parameter.shape, device="meta").stride():
            parameter.data = parameter.detach().clone(memory_format=torch.contiguous_format)


def _is_faster() -> bool:
    capability = torch.backends.cpu.get_cpu_capability()
    return bool(capability.startswith(FAST))


def _is_safe(module: nn.Module) -> bool:
    return all(
        channels >= SAFE_CHANNELS or max(kernel) > 1 or max(stride) == 1
        for channels, kernel, stride in _convolutions(module)
    )


def _convolutions(module: nn.Module) -> Iterator[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """Input channels of each group, kernel and stride of every 2-d convolution."""
    for each in module.modules():
        if isinstance(each, Conv | nn.Conv2d) and each.weight.dim() == 4:
            yield each.weight.shape[1], tuple(each.weight.shape[2:]), each.stride
