"""What the networks are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A model in evaluation mode and a batch of examples.

    Attributes:
        inputs: what its ``forward`` takes, by position: float tensors ``[N, ...]``, or integers such as tokens.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]


Maker = Callable[[], Case]
BATCH = 3
"""Samples of an example: a number that no dimension of a network has, so that a mistaken batch is seen."""


class Written(nn.Module):
    """Submodules by name, and a forward function of them and of any inputs."""

    def __init__(self, function: Callable[..., Any], **modules: Any) -> None:
        super().__init__()
        for name, module in modules.items():
            if isinstance(module, nn.Parameter):
                self.register_parameter(name, module)
            elif isinstance(module, Tensor):
                self.register_buffer(name, module)
            else:
                self.add_module(name, module)
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        """The function of this module and its inputs."""
        return self.function(self, *inputs)


def conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    """A convolution that keeps height and width, unless ``options`` say otherwise."""
    return nn.Conv2d(inputs, outputs, kernel, **{"padding": kernel // 2, **options})


def block(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(conv(inputs, outputs, kernel, bias=False, **options), nn.BatchNorm2d(outputs), nn.ReLU())


def block1d(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Sequential:
    """The same in one dimension."""
    layer = nn.Conv1d(inputs, outputs, kernel, bias=False, **{"padding": kernel // 2, **options})
    return nn.Sequential(layer, nn.BatchNorm1d(outputs), nn.ReLU())


def mlp(*sizes: int, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with an activation between."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(a, b), *([act()] if i < len(sizes) - 2 else [])]
    return nn.Sequential(*layers)


def floats(*shape: int) -> Tensor:
    """Random numbers ``[BATCH, *shape]``."""
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(1))


def image(side: int = 32, channels: int = 3) -> Tensor:
    """A smooth random picture with a little noise, ``[BATCH, channels, side, side]``."""
    coarse = floats(channels, 8, 8)
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    return smooth + 0.1 * floats(channels, side, side)


def tokens(length: int, words: int) -> Tensor:
    """Random words ``[BATCH, length]``."""
    return torch.randint(0, words, (BATCH, length), generator=torch.Generator().manual_seed(1))
