"""What a network answers: one tensor, or several by name; in training and, in integers, as it will be served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from dqt.arith.plan import PlanLike, resolve
from dqt.nn.exact import run_exact
from dqt.nn.net import Net
from dqt.nn.run import Choice
from dqt.program.task import Shapes


def shapes_of(net: Net) -> Shapes:
    """The shape of the network's output, or of each by name, without the batch."""
    shapes = {output.name: net.shapes[output.value] for output in net.outputs}
    return shapes if len(shapes) > 1 else next(iter(shapes.values()))


def named(net: Net, outputs: Sequence[Any]) -> Any:
    """The one tensor, or several by name."""
    if len(outputs) == 1:
        return outputs[0]
    return {output.name: y for output, y in zip(net.outputs, outputs, strict=True)}


def answer(net: Net, x: Any, plan: PlanLike = None) -> Any:
    """What the network answers at a plan, differentiable."""
    return named(net, net.tensors(x, plan))


def returned(net: Net, given: Any) -> Any:
    """An answer of the network in the structure that its model returns it in; another one's as it is."""
    if isinstance(given, Tensor):
        return net.signature.structure.around([given]) if len(net.outputs) == 1 else given
    ours = isinstance(given, dict) and list(given) == [output.name for output in net.outputs]
    return net.signature.structure.around([*given.values()]) if ours else given


def served(net: Net, x: Any, plan: PlanLike) -> tuple[Any, Choice | None]:
    """What will be served at a plan: float64 reals of the integers, NumPy; and under "auto" what was chosen."""
    fixed: Any = resolve(net.space, plan)
    exact = run_exact(net, x, fixed)
    pairs = zip(exact.integers, exact.scales, strict=True)
    reals = tuple(q.cpu().numpy() * np.float64(np.float32(scale)) for q, scale in pairs)
    return named(net, reals), exact.choice
