"""The loss of many plans on the same batches, each batch read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F

from dqt.arith.plan import Plan, uniform
from dqt.data.errors import DataError
from dqt.nn.modes import evaluating
from dqt.nn.net import Net
from dqt.train.labels import labels_like

Objective = Literal["cross entropy", "divergence"]


@torch.no_grad()
def measure(
    net: Net, batches: Iterable[Any], plans: Sequence[Plan], *, progress: bool = False
) -> tuple[npt.NDArray[np.float64], Objective, int]:
    """The mean loss of each plan in evaluation mode, which loss it is, and of how many samples.

    ``net`` is as it was afterwards. Arguments and errors as :func:`dqt.train.search.search`.
    """
    sums = np.zeros(len(plans))
    kinds: set[Objective] = set()
    samples = 0
    with evaluating(net), _bar(progress, _count(batches, len(plans))) as advance:
        for x, labels in _batches(net, batches):
            losses, kind = _losses(net, x, labels, plans, advance)
            sums += losses
            samples += len(x)
            kinds.add(kind)
    if not samples:
        raise DataError("no data: measuring sensitivities needs at least one batch (a few hundred samples)")
    if len(kinds) != 1:
        raise DataError("some batches have labels and some have none: give labels for all or for none")
    return sums / samples, kinds.pop(), samples


def _losses(
    net: Net, x: Tensor, labels: Tensor | None, plans: Sequence[Plan], advance: Callable[[], object]
) -> tuple[npt.NDArray[np.float64], Objective]:
    """The sum of the loss over the batch for each plan; equal plans run once."""
    master = net.tensor(x)
    if master.dim() != 2:
        raise DataError(f"an output of shape {list(master.shape)}: the search compares class scores, [N, classes]")
    if labels is not None:
        labels = labels_like(master, labels)
    found = {uniform(net.space, net.space.master): _loss(master, master, labels)}
    for plan in plans:
        if plan not in found:
            found[plan] = _loss(net.tensor(x, plan), master, labels)
        advance()
    return np.array([found[plan] for plan in plans]), "divergence" if labels is None else "cross entropy"


def _loss(logits: Tensor, master: Tensor, labels: Tensor | None) -> float:
    scores = logits.double()
    if labels is not None:
        return float(F.cross_entropy(scores, labels, reduction="sum"))
    target = F.log_softmax(master.double(), dim=1)
    return float(F.kl_div(F.log_softmax(scores, dim=1), target, reduction="sum", log_target=True))


def _batches(net: Net, batches: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor | None]]:
    device = next(net.parameters()).device
    for batch in [batches] if isinstance(batches, Tensor) else batches:
        pair = batch if isinstance(batch, tuple | list) else (batch, None)
        if len(pair) != 2:
            raise DataError(f"a batch of {len(pair)} items: pass inputs, or a pair (inputs, labels)")
        x, labels = pair
        net.check_input(x)
        if not bool(torch.isfinite(x).all()):
            raise DataError("a batch contains NaN or infinity: clean the data first")
        yield x.to(device), None if labels is None else torch.as_tensor(labels).to(device)


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
