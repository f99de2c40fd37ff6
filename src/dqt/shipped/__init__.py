"""The example that ships: an any-width ResNet-20 on CIFAR-10 (docs/model-card.md)."""

from __future__ import annotations

from pathlib import Path

FILE = "resnet20-cifar10.dqt"


def example() -> Path:
    """Path of a trained any-width network that ships with the package, for :meth:`dqt.Program.load`."""
    return Path(__file__).with_name(FILE)
