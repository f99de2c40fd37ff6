"""Every value of an exact run, for the tests; the networks themselves are public, in :mod:`dqt.testing.networks`."""

from __future__ import annotations

from torch import Tensor

from dqt.arith.plan import Plan, PlanLike, resolve
from dqt.nn.graph import INPUT
from dqt.nn.net import Net
from dqt.nn.operators import OPERATORS, Run
from dqt.testing.networks import (
    BLOCKS,
    HEADS,
    Model,
    block,
    conv,
    head,
    random_model,
    ready,
    small,
    unsettle,
    with_controller,
)

__all__ = [
    "BLOCKS",
    "HEADS",
    "Model",
    "block",
    "conv",
    "exact_values",
    "head",
    "random_model",
    "ready",
    "small",
    "unsettle",
    "with_controller",
]


def exact_values(net: Net, x: Tensor, plan: PlanLike = None, *, routed: bool = False) -> dict[str, Tensor]:
    """Every value of an exact run, int32 codes, by name."""
    fixed = resolve(net.space, plan)
    assert isinstance(fixed, Plan)
    run = Run(dict(fixed.items_) | {layer.name: (net.space.master,) * 2 for layer in net.space.controller})
    run.constants = net.constants()
    values = {INPUT: net._quantize(x)}
    for step in net.steps:
        if routed or not step.controller:
            values[step.out] = OPERATORS[step.kind].exact(net, step, [values[name] for name in step.ins], run)
    return values
