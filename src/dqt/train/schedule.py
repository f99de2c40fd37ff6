"""Learning rate and optimizer: who decays, who learns faster, and when."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from dqt.nn.net import CONTROLLER
from dqt.train.recipe import Recipe, RecipeError

BASE = "base_lr"


def rate(recipe: Recipe, step: int, total_steps: int) -> float:
    """Factor on the learning rate at ``step``: linear over the first ``recipe.warmup``, then a cosine to 0."""
    warm = math.ceil(recipe.warmup * total_steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total_steps - warm)))


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, total_steps: int) -> float:
    """Set the learning rate of every group for ``step``; returns that of the weights."""
    factor = rate(recipe, step, total_steps)
    for group in optimizer.param_groups:
        group["lr"] = group[BASE] * factor
    return recipe.lr * factor


def parameter_groups(net: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by treatment: weights decay; clips, norms and biases (one dimension or none) do not.

    The controller's learn at ``recipe.controller_lr`` times the rate. Empty groups are left out.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith(CONTROLLER), parameter.dim() >= 2), []).append(parameter)
    made = []
    for (controller, decays), parameters in groups.items():
        lr = recipe.lr * (recipe.controller_lr if controller else 1.0)
        decay = recipe.weight_decay if decays else 0.0
        made.append({"params": parameters, "lr": lr, BASE: lr, "weight_decay": decay})
    return made


def optimizer_of(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW, over :func:`parameter_groups`.

    Raises:
        RecipeError: every parameter is frozen.
    """
    groups = parameter_groups(net, recipe)
    if not groups:
        raise RecipeError("nothing to train: every parameter is frozen; set requires_grad on those that shall learn")
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
