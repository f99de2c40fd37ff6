"""Validation by the integers that are served, and the norm statistics that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from dqt.arith.plan import AUTO, PlanLike
from dqt.nn.modes import Modes
from dqt.nn.net import Net
from dqt.nn.norms import Norm
from dqt.nn.ranges import Quantizer
from dqt.program.task import GivenTask, Task
from dqt.train.answers import served
from dqt.train.loss import chosen_share
from dqt.train.recipe import Recipe, RecipeError
from dqt.train.sources import Source
from dqt.train.structures import count, mapped, moved
from dqt.train.targets import targets_for, task_of_net

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


@dataclass(frozen=True, eq=False)
class Scored:
    """What the samples of this process contribute to the task's metric.

    Attributes:
        task: whose metric.
        places: int64 ``[m]``, where these samples stand among all.
        rows: float64 ``[plans, m]`` or ``[plans, m, k]``, see :meth:`dqt.Task.rows`; None without samples.
        share: the sum of the relative BitOPs of these samples under "auto".   samples: of all processes.
    """

    task: Task
    places: Tensor
    rows: Tensor | None
    share: float
    samples: int

    def joined(self, summed: Callable[[Tensor], Tensor]) -> Scored:
        """Those of all processes; ``summed`` adds up a tensor over them."""
        sizes = [] if self.rows is None else [self.rows.shape[2] if self.rows.dim() == 3 else 0, self.rows.shape[0]]
        told = summed(torch.tensor([*(sizes or (0, 0)), float(bool(sizes)), self.share], dtype=torch.float64))
        columns, plans = (int(value / told[2]) for value in told[:2])
        rows = torch.zeros((plans, self.samples, *([columns] if columns else [])), dtype=torch.float64)
        if self.rows is not None:
            rows[:, self.places] = self.rows
        every = torch.arange(self.samples)
        return replace(self, places=every, rows=summed(rows), share=float(told[3]))


@torch.no_grad()
def evaluate(
    net: Net,
    source: Source,
    plans: Sequence[int | str],
    device: torch.device,
    *,
    task: GivenTask | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> Scored:
    """The exact network on this process's part of the data, by the metric of its task.

    Raises:
        DataError: targets that do not fit.
    """
    net.eval()
    task = task_of_net(net, task)
    places = torch.arange(rank, len(source), ranks)
    parts = batches_of(places, max(source.batch_size, 256))
    rows: list[Tensor] = []
    share = torch.zeros((), dtype=torch.float64)
    with net.frozen():
        for samples, (x, y) in zip(parts, source.batches(parts), strict=True):
            inputs = moved(x, device)
            targets = mapped(lambda each: each.cpu().numpy(), targets_for(net, task, y, count(x), samples))
            found = []
            for plan in plans:
                outputs, choice = served(net, inputs, cast("PlanLike", plan))
                if choice is not None:
                    share += chosen_share(net.space, choice.widths, net.late).sum()
                found.append(torch.from_numpy(task.rows(outputs, targets)))
            rows.append(torch.stack(found))
    return Scored(task, places, torch.cat(rows, 1) if rows else None, float(share), len(source))


def batches_of(index: Tensor, size: int) -> list[Tensor]:
    """``index`` in order, cut into pieces of ``size``, the last one shorter."""
    return [index[i : i + size] for i in range(0, len(index), size)]


def accuracies(scored: Scored, plans: Sequence[int | str]) -> dict[str, float]:
    """The metric of the task by plan (top-1 in [0, 1]), and ``"auto_share"`` where "auto" was run."""
    assert scored.rows is not None
    found = {str(plan): scored.task.value(rows.numpy()) for plan, rows in zip(plans, scored.rows, strict=True)}
    return found | {AUTO_SHARE: scored.share / scored.samples} if AUTO in found else found


@torch.no_grad()
def reestimate(net: Net, batches: Sequence[Any]) -> Net:
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
    quantizers = [module for module in net.modules() if isinstance(module, Quantizer)]
    before = [module.momentum for module in (*norms, *quantizers)]
    for quantizer in quantizers:
        quantizer.momentum = 1.0
    try:
        yield _SetPlace(norms)
    finally:
        for module, momentum in zip((*norms, *quantizers), before, strict=True):
            module.momentum = momentum


class _SetPlace:
    """Weighs the batch at ``place`` so that the running value becomes the mean of batches 0..place."""

    def __init__(self, norms: Sequence[Norm]) -> None:
        self.norms = norms

    def __call__(self, place: int) -> None:
        for norm in self.norms:
            norm.momentum = 1.0 / (place + 1)
