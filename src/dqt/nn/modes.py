"""Training and evaluation mode of a network whose parts may differ: a norm that is frozen stays frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Modes:
    """The modes of a module and all its parts, as they were when this was made.

    Attributes:
        frozen: the parts that were in evaluation mode while the module itself was in training mode, such as norms whose
            running statistics the user wants kept; none where the module was in evaluation mode as a whole.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._before = [(part, part.training) for part in module.modules()]
        self.frozen = [part for part, training in self._before if module.training and not training]

    def train(self) -> None:
        """Training mode for all but the frozen parts."""
        self.module.train()
        for part in self.frozen:
            part.training = False

    def restore(self) -> None:
        """Every part as it was."""
        for part, training in self._before:
            part.training = training


@contextmanager
def evaluating(module: nn.Module) -> Iterator[Modes]:
    """``module`` in evaluation mode inside the block, without autocast, and every part of it as it was afterwards."""
    modes = Modes(module)
    module.eval()
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    try:
        with torch.autocast(device.type, enabled=False):
            yield modes
    finally:
        modes.restore()
