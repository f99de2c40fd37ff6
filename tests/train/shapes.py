"""Networks and made data of other tasks than classification."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from dqt.nn.config import Config
from dqt.nn.net import Net
from dqt.nn.prepare import prepare

CLASSES, SIDE = 3, 12


class UNet(nn.Module):
    """One level down and up again, with a skip: ``[N, 1, 12, 12]`` to scores ``[N, 3, 12, 12]``."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(12, 12, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.join = nn.Conv2d(20, 8, 3, padding=1)
        self.leave = nn.Conv2d(8, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = torch.relu(self.enter(x))
        low = torch.relu(self.deep(torch.relu(self.down(high))))
        out: Tensor = self.leave(torch.relu(self.join(torch.cat([high, self.up(low)], 1))))
        return out


class MLP(nn.Module):
    """Eight columns to two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y


class TwoHeads(nn.Module):
    """A class and a box from an image, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.kind, self.box = nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.Linear(288, 3), nn.Linear(288, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        flat = torch.relu(self.body(x)).flatten(1)
        return {"kind": self.kind(flat), "box": self.box(flat)}


def shapes(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A disc (1) and a bar (2) on noise (0), float ``[N, 1, 12, 12]``; and what each pixel is, ``[N, 12, 12]``."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    x, y = rng.normal(0, 0.2, (count, SIDE, SIDE)), np.zeros((count, SIDE, SIDE), np.int64)
    for i, (a, b, c) in enumerate(rng.integers(2, SIDE - 2, (count, 3))):
        disc, bar = (rows - a) ** 2 + (columns - b) ** 2 < 7, np.abs(rows - c) < 1
        y[i][disc], y[i][bar] = 1, 2
        x[i] += disc * 1.0 - bar * 1.0
    return torch.from_numpy(x[:, None]).float(), torch.from_numpy(y)


def table(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Columns, float ``[N, 8]``, and two numbers that follow from them."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 8, generator=rng)
    return x, torch.stack([x[:, 0] * x[:, 1] + x[:, 2], x[:, 3:].abs().mean(1)], 1)


def prepared(model: nn.Module, x: Tensor, seed: int = 0) -> Net:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
        return prepare(model, x[:2], Config(widths=(2, 4, 8)))
