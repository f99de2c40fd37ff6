"""The running average of the weights, which is steadier than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """``average <- decay * average + (1 - decay) * weights`` over every parameter, clips included.

    The decay starts lower, ``(1 + steps) / (10 + steps)``, so that the first weights are soon forgotten.

    Args:
        decay: in (0, 1).   values: an average to go on from, with ``steps`` updates made.
    """

    def __init__(
        self, net: nn.Module, decay: float, values: Mapping[str, Tensor] | None = None, steps: int = 0
    ) -> None:
        self.decay, self.steps = decay, steps
        start = values or {name: p.detach() for name, p in net.named_parameters()}
        self.values = {name: start[name].clone().to(p.device) for name, p in net.named_parameters()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Take in the weights of one more step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, parameter in net.named_parameters():
            self.values[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self, net: nn.Module, *, keep: bool) -> Iterator[None]:
        """``net`` with the averaged weights inside the block; ``keep``: and after it."""
        before = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(self.values, strict=False)
        try:
            yield
        finally:
            if not keep:
                net.load_state_dict(before)
