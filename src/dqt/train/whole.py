"""The whole objective as one module, so that data parallelism and mixed precision see a single forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from dqt.nn.net import Net
from dqt.program.task import Task
from dqt.train.loss import objective
from dqt.train.recipe import Recipe


class Batch:
    """A batch on its way through Fabric, which under mixed precision casts every tensor that it sees.

    The input's quantizer must read the float32 values that are served; only the products after it are computed in less.
    """

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y


class Place(NamedTuple):
    """Where in the run a step is: all random draws follow from it."""

    step: int
    total_steps: int
    rank: int


class Whole(nn.Module):
    """The objective of a network as a module of its own; ``teacher`` is not a part of what trains."""

    def __init__(
        self, net: Net, recipe: Recipe, teacher: nn.Module | None, task: Task | None = None, *, processes: bool = False
    ) -> None:
        super().__init__()
        self.processes = processes
        self.net, self.recipe, self.task = net, recipe, task
        self._teacher = (teacher,)  # in a tuple, where torch does not take it for a submodule

    def forward(
        self, batch: Batch, place: Place, backward: Callable[[Tensor], object] | None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None, Tensor | None]:
        """Loss, losses by pass, expected share, chosen widths: a tuple, because Fabric looks for tensors inside."""
        (teacher,), x, y = self._teacher, batch.x, batch.y
        soft = None
        if teacher is not None:
            with torch.no_grad():
                soft = _alone(teacher(x))
        step, total, rank = place
        found = objective(
            self.net, x, y, self.recipe,
            task=self.task, step=step, total_steps=total, rank=rank,
            backward=backward, teacher=soft, processes=self.processes,
        )  # fmt: skip
        return found.loss, found.losses, found.share, found.widths


def _alone(output: Any) -> Any:
    """The one tensor of what a teacher returns, be it in a dict or another structure; anything else as it is."""
    tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    return tensors[0] if len(tensors) == 1 else output
