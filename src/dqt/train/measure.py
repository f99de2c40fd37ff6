"""The loss of many plans on the same batches, each batch read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from dqt.arith.plan import Plan, uniform
from dqt.data.errors import DataError
from dqt.nn.modes import evaluating
from dqt.nn.net import Net
from dqt.program.task import GivenTask
from dqt.train.answers import answer, shapes_of
from dqt.train.losses import Loss
from dqt.train.structures import count, device_of, moved, tensors
from dqt.train.targets import targets_for, task_of_net


@torch.no_grad()
def measure(
    net: Net,
    batches: Iterable[Any],
    plans: Sequence[Plan],
    *,
    task: GivenTask | None = None,
    progress: bool = False,
) -> tuple[npt.NDArray[np.float64], str, int]:
    """The mean loss of each plan in evaluation mode, which loss it is, and of how many samples.

    ``net`` is as it was afterwards. Arguments and errors as :func:`dqt.train.search.search`.
    """
    sums = np.zeros(len(plans))
    loss = Loss(net, task_of_net(net, task))
    kinds: set[str] = set()
    samples = 0
    with evaluating(net), _bar(progress, _count(batches, len(plans))) as advance:
        for x, targets in _batches(net, batches):
            losses, kind = _losses(loss, x, targets, plans, advance)
            sums += losses
            samples += count(x)
            kinds.add(kind)
    if not samples:
        raise DataError("no data: measuring sensitivities needs at least one batch (a few hundred samples)")
    if len(kinds) != 1:
        raise DataError("some batches have labels and some have none: give labels for all or for none")
    return sums / samples, kinds.pop(), samples


def _losses(
    loss: Loss, x: Any, targets: Any, plans: Sequence[Plan], advance: Callable[[], object]
) -> tuple[npt.NDArray[np.float64], str]:
    """The sum of the loss over the batch for each plan; equal plans run once."""
    net = loss.net
    master = answer(net, x)
    judged = targets is not None
    if judged:
        targets = moved(targets_for(net, loss.task, targets, count(x)), device_of(x))
    elif loss.task.targets == "classes":
        loss.task.classes_in(shapes_of(net), DataError)

    def lost(given: Any) -> float:
        return loss.total(given, targets) if judged else loss.distance(given, master)

    found = {uniform(net.space, net.space.master): lost(master)}
    for plan in plans:
        if plan not in found:
            found[plan] = lost(answer(net, x, plan))
        advance()
    return np.array([found[plan] for plan in plans]), loss.name if judged else loss.distance_name


def _batches(net: Net, batches: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    device = next(net.parameters()).device
    for given in [batches] if isinstance(batches, Tensor) else batches:
        batch = net.inputs.of_batch(given) if isinstance(given, Mapping) else given
        pair = batch if isinstance(batch, tuple | list) else (batch, None)
        if len(pair) != 2:
            raise DataError(f"a batch of {len(pair)} items: pass inputs, or a pair (inputs, targets)")
        x, targets = pair
        net.check_input(x)
        if not all(bool(torch.isfinite(each).all()) for each in tensors(x)):
            raise DataError("a batch contains NaN or infinity: clean the data first")
        yield moved(x, device), targets


def _count(batches: Iterable[Any], plans: int) -> int | None:
    if isinstance(batches, Tensor):
        return plans
    return len(batches) * plans if isinstance(batches, Sized) else None


@contextmanager
def _bar(show: bool, total: int | None) -> Iterator[Callable[[], object]]:
    if not show:
        yield lambda: None
        return
    where = Console(stderr=True)
    with Progress(console=where, transient=True, disable=not where.is_terminal) as shown:
        task = shown.add_task("measuring layers", total=total)
        yield lambda: shown.advance(task)
