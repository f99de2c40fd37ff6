"""Targets as a task takes them, or one error that says which target of which sample is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dqt.arith.margin import chosen_output
from dqt.data.errors import DataError
from dqt.nn.net import Net
from dqt.program.task import Shapes, Task, task_for
from dqt.train.answers import shapes_of
from dqt.train.sources import Held, Source


def targets_for(net: Net, task: Task, given: Any, count: int, samples: Sequence[int] | Tensor | None = None) -> Any:
    """``given`` as loss and metric of ``task`` take the targets of ``count`` samples, where they lie.

    Classes become int64, numbers float32; targets of a user's own task are as the task gives them.

    Raises:
        DataError: targets that do not fit, or a network whose output is not what the task needs.
    """
    shapes = shapes_of(net)
    if task.targets == "classes":
        task.classes_in(shapes, DataError)
    if isinstance(given, Tensor) and _fits(task, shapes, given, count):
        return given
    own = task.targets not in ("classes", "numbers")
    values = given if own or not isinstance(given, Tensor) else _array(given)
    places = samples.tolist() if isinstance(samples, Tensor) else samples
    made = task.checked(values, shapes, count, samples=places, error=DataError)
    if own:
        return made
    tensor = torch.from_numpy(made)
    return tensor.to(given.device) if isinstance(given, Tensor) else tensor


def check_held(net: Net, task: Task, source: Source) -> None:
    """Look at all targets of data in memory before training begins. Errors as :func:`targets_for`."""
    if isinstance(source, Held):
        targets_for(net, task, source.labels, len(source))


def task_of_net(net: Net, given: Any) -> Task:
    """The task that was given, or classification: of each position, where the network's output has some."""
    return task_for(given, shapes_of(net))


def _fits(task: Task, shapes: Shapes, given: Tensor, count: int) -> bool:
    """Whether targets are as they must be: the usual case, with one look at them where they are."""
    if task.targets not in ("classes", "numbers") or given.numel() == 0:
        return False
    shape = chosen_output(shapes, task.output)
    if task.targets == "numbers":
        right = given.dtype == torch.float32 and tuple(given.shape) == (count, *shape)
        return right and bool(given.isfinite().all())
    classes, where = (shape[0], shape[1:]) if task.axis == 1 else (shape[-1], shape[:-1])
    if given.dtype != torch.int64 or tuple(given.shape) != (count, *where):
        return False
    least, most = torch.stack(given.aminmax()).tolist()
    return bool(least >= 0 and most < classes)


def _array(given: Tensor) -> Any:
    values = given.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
