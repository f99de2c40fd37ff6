"""Every value of an exact run, and a step of training, for the tests."""

from __future__ import annotations

import torch
from torch import Tensor

from dqt.arith.cascade import Cascade
from dqt.arith.plan import PlanLike, resolve
from dqt.nn.graph import INPUT
from dqt.nn.net import Net
from dqt.nn.tensors import TensorArrays
from dqt.program.execute import Machine


def exact_values(net: Net, x: Tensor, plan: PlanLike = None) -> dict[str, Tensor]:
    """Every value of an exact run, int32, by the network's name of it."""
    fixed = resolve(net.space, plan)
    assert not isinstance(fixed, Cascade)
    program = net.program()
    kept = Machine(program, fixed, TensorArrays(x.device)).run({INPUT: x}, keep=True).kept
    values = {INPUT: kept[program.values[0].name].int()}
    for node in net.nodes:
        if node.out in kept:
            values[node.out] = kept[node.out].int()
        elif node.ins[0] in values:  # what a program does not need is its operand
            values[node.out] = values[node.ins[0]]
    return values


def train_step(net: Net, x: Tensor, plan: PlanLike = None, dtype: torch.dtype | None = None) -> Tensor:
    """The outputs of a pass in training mode, whose gradients are checked; the network leaves it in evaluation mode.

    ``dtype``: under autocast to that.
    """
    net.train()
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        y: Tensor = net(x, plan)
    assert y.dtype == torch.float32
    y.square().mean().backward()  # type: ignore[no-untyped-call]
    given = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert any(bool(grad.any()) for grad in given.values())
    assert all(bool(grad.isfinite().all()) for grad in given.values())
    net.zero_grad()
    net.eval()
    return y.detach()


def scale_of(net: Net, name: str) -> float:
    """The scale of a value of the program."""
    return next(value.scale for value in net.program().values if value.name == name)
