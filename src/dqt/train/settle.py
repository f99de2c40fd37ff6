"""A controller that decides late, held to a budget: a price on BitOPs, taken off its logits."""

from __future__ import annotations

import torch
from torch import Tensor

from dqt.nn.controller import LOGITS
from dqt.nn.controller_alone import controller_features, controller_logits
from dqt.nn.net import Net
from dqt.train.loss import share_table
from dqt.train.recipe import Recipe
from dqt.train.sources import Source
from dqt.train.structures import moved
from dqt.train.validate import batches_of

STEPS, DEAREST = 60, 1e4


@torch.no_grad()
def held_features(net: Net, source: Source) -> Tensor:
    """What the controller reads of every sample, float ``[M, F]``."""
    device = next(net.parameters()).device
    parts = batches_of(torch.arange(len(source)), max(source.batch_size, 256))
    return torch.cat([controller_features(net, moved(x, device)).cpu() for x, _ in source.batches(parts)])


@torch.no_grad()
def settle(net: Net, features: Tensor, recipe: Recipe) -> float:
    """Take a price on BitOPs off the controller's logits: then choices cost ``recipe.bitops`` on ``features``.

    The logits are compared, so they may be read as gains in one unit. Where the budget is a limit, choices that stay
    below it are left as they are.

    Returns:
        the price, in units of a logit for all BitOPs of the master.
    """
    table, fixed = share_table(net.space, net.late)
    costs = table.sum(0) + fixed
    logits = controller_logits(net, features.to(next(net.parameters()).device))[:, 0].cpu().double()

    def paid(price: float) -> float:
        return float(costs[(logits - price * costs).argmax(1)].mean())

    low, high = (0.0 if recipe.budget == "limit" else -DEAREST), DEAREST
    if paid(low) <= recipe.bitops:
        return 0.0
    for _ in range(STEPS):
        price = (low + high) / 2
        low, high = (price, high) if paid(price) > recipe.bitops else (low, price)
    bias = net.layer(LOGITS).bias
    assert bias is not None
    bias.sub_((high * costs).to(bias))
    return high
