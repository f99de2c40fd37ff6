"""A network so small that training it takes a moment."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dqt.nn.config import Config, Controller
from dqt.nn.net import Net
from dqt.nn.prepare import prepare


class Tiny(nn.Module):
    """A convolution, a normed convolution and a classifier on ``[N, 1, 6, 6]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn(self.conv(torch.relu(self.stem(x)))))
        logits: Tensor = self.linear(out.mean((2, 3)))
        return logits


def tiny_net(*, controller: bool = False, widths: tuple[int, ...] = (2, 4, 8), seed: int = 0) -> Net:
    """A prepared :class:`Tiny`, the same for the same arguments."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        config = Config(widths=widths, controller=Controller(grid=1) if controller else None)
        return prepare(Tiny(), torch.randn(4, 1, 6, 6), config)


def tiny_data(count: int = 48, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images whose class shows in their brightness: float ``[count, 1, 6, 6]`` and labels 0..2."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 3
    x = torch.randn(count, 1, 6, 6, generator=rng) * 0.3 + y.view(-1, 1, 1, 1) - 1
    return x, y


@pytest.fixture
def net() -> Net:
    return tiny_net()


@pytest.fixture
def routed_net() -> Net:
    return tiny_net(controller=True)
