"""Answers of a prepared network on data that does not fit one batch."""

from __future__ import annotations

import torch
from torch import Tensor

from dqt.arith.plan import PlanLike
from dqt.nn.modes import evaluating
from dqt.nn.net import Net

BATCH = 256


@torch.no_grad()
def outputs(net: Net, inputs: Tensor, plan: PlanLike = None, *, exact: bool = False) -> Tensor:
    """``net(inputs, plan, exact=exact)`` in evaluation mode and without gradient, float32 ``[N, ...]`` on the CPU.

    Raises:
        InputError, PlanError: see :meth:`dqt.nn.net.Net.forward`.
    """
    device = next(net.parameters()).device
    with evaluating(net), net.frozen():
        parts = [net.tensor(x.to(device), plan, exact=exact).cpu() for x in torch.split(inputs, BATCH)]
    return torch.cat(parts)
