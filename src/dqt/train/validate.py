"""Validation by the integers that are served, and the norm statistics that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor

from dqt.arith.plan import AUTO, PlanLike
from dqt.nn.layers import Norm
from dqt.nn.modes import Modes
from dqt.nn.net import Net
from dqt.nn.ranges import Edge
from dqt.train.labels import labels_for
from dqt.train.loss import chosen_share
from dqt.train.recipe import Recipe, RecipeError
from dqt.train.sources import Source

AUTO_SHARE = "auto_share"


def plans_of(net: Net, recipe: Recipe) -> tuple[int | str, ...]:
    """What is validated: ``recipe.valid_widths`` (all by default), highest first, and ``"auto"`` with a controller.

    Raises:
        RecipeError: a width that the network does not have.
    """
    wrong = [b for b in recipe.valid_widths if b not in net.space.widths]
    if wrong:
        raise RecipeError(f"recipe.valid_widths {wrong} are not among the network's widths {net.space.widths}")
    widths: tuple[int | str, ...] = tuple(sorted(recipe.valid_widths or net.space.widths, reverse=True))
    return widths + ((AUTO,) if net.space.choices else ())


@torch.no_grad()
def evaluate(
    net: Net, source: Source, plans: Sequence[int | str], device: torch.device, *, rank: int = 0, ranks: int = 1
) -> Tensor:
    """Correct answers of the exact network on this process's part of the data.

    Raises:
        DataError: labels that do not fit.

    Returns:
        float64 ``[plans + 2]``: correct by plan, the sum of BitOPs shares under "auto", the samples seen.
    """
    net.eval()
    parts = batches_of(torch.arange(rank, len(source), ranks), max(source.batch_size, 256))
    totals = torch.zeros(len(plans) + 2, dtype=torch.float64)
    with net.frozen():
        for samples, (x, y) in zip(parts, source.batches(parts), strict=True):
            images, labels = x.to(device), labels_for(net, y, len(x), samples).to(device)
            for i, plan in enumerate(plans):
                if plan == AUTO:
                    logits, choice = net.route(images, exact=True)
                    totals[-2] += chosen_share(net.space, choice.widths).sum()
                else:
                    logits = net.tensor(images, cast("PlanLike", plan), exact=True)
                totals[i] += (logits.argmax(1) == labels).sum().cpu()
            totals[-1] += len(x)
    return totals


def batches_of(index: Tensor, size: int) -> list[Tensor]:
    """``index`` in order, cut into pieces of ``size``, the last one shorter."""
    return [index[i : i + size] for i in range(0, len(index), size)]


def accuracies(totals: Tensor, plans: Sequence[int | str]) -> dict[str, float]:
    """Top-1 in [0, 1] by plan from the sums of :func:`evaluate`, and ``"auto_share"`` where "auto" was run."""
    count = float(totals[-1])
    found = {str(plan): float(totals[i]) / count for i, plan in enumerate(plans)}
    return found | {AUTO_SHARE: float(totals[-2]) / count} if AUTO in found else found


@torch.no_grad()
def reestimate(net: Net, batches: Sequence[Tensor]) -> Net:
    """Take the norm statistics of every width anew, as the mean over ``batches``; ranges and weights stay.

    Widths that were not drawn lately have statistics of older weights; this is what they need before they serve.
    Nothing happens where the norm is shared, or without batches; a norm in evaluation mode inside a network in training
    mode is frozen, and stays as it is.

    Args:
        batches: inputs on the network's device, float ``[N, ...]``.
    """
    if net.config.norm != "per_width" or not batches:
        return net
    modes = Modes(net)
    modes.train()
    try:
        with _averaging(net) as set_place:
            for b in net.space.widths:
                for place, x in enumerate(batches):
                    set_place(place)
                    net(x, b)
    finally:
        modes.restore()
    return net


@contextmanager
def _averaging(net: Net) -> Iterator[_SetPlace]:
    """Norms average over batches instead of forgetting, and tracked ranges stand still; restored on exit."""
    norms = [module for module in net.modules() if isinstance(module, Norm)]
    edges = [module for module in net.modules() if isinstance(module, Edge)]
    before = [module.momentum for module in (*norms, *edges)]
    for edge in edges:
        edge.momentum = 1.0
    try:
        yield _SetPlace(norms)
    finally:
        for module, momentum in zip((*norms, *edges), before, strict=True):
            module.momentum = momentum


class _SetPlace:
    """Weighs the batch at ``place`` so that the running value becomes the mean of batches 0..place."""

    def __init__(self, norms: Sequence[Norm]) -> None:
        self.norms = norms

    def __call__(self, place: int) -> None:
        for norm in self.norms:
            norm.momentum = 1.0 / (place + 1)
