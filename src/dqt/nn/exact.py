"""The integer network in torch: the program that is served, run on tensors of the network's device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from dqt.arith.cascade import Cascade
from dqt.arith.errors import InputError
from dqt.arith.plan import AUTO, Plan, resolve
from dqt.nn.graph import INPUT
from dqt.nn.hooks import warn_unheard
from dqt.nn.run import Choice
from dqt.nn.tensors import TensorArrays
from dqt.program.execute import Machine
from dqt.program.values import OUTPUT, Value

if TYPE_CHECKING:
    from dqt.nn.net import Net
    from dqt.program.program import Program


@dataclass(frozen=True, eq=False)
class Exact:
    """What an exact run gave.

    Attributes:
        outputs: float32 ``[N, ...]`` each, dequantized.   codes: int32 of the first, before that.
        value: how the codes stand for reals.
        choice: what the controller chose, under "auto".
    """

    outputs: tuple[Tensor, ...]
    codes: Tensor
    value: Value
    choice: Choice | None


@_disable_dynamo  # integers of NumPy among tensors: torch.compile leaves the exact run as it is
@torch.no_grad()
def run_exact(net: Net, x: Any, plan: Plan | Literal["auto"]) -> Exact:
    """The integers that ``dqt.interpret`` gives for the program of ``net``, computed in torch.

    Raises:
        InputError: ``x`` has another shape or dtype, or holds a NaN or an infinity.
    """
    given = net.inputs.take(x)
    x = given[0].float()
    if not bool(torch.isfinite(x).all()):
        raise InputError("the input contains NaN or infinity, or a number beyond float32")
    warn_unheard(net)
    program = net.program()
    run = Machine(program, plan, TensorArrays(x.device)).run({INPUT: x})
    codes = run.outputs[OUTPUT].int()
    choice = _choice(program, run.chosen) if plan == AUTO else None
    out = run.value(program.output)
    return Exact(((codes - out.zero).float() * float(np.float32(out.scale)),), codes, out, choice)


def _choice(program: Program, chosen: dict[str, Tensor]) -> Choice:
    widths = torch.stack([chosen[layer].long() for layer in program.space.chosen], dim=1)
    return Choice(program.space.chosen, widths, torch.empty(0), torch.empty(0))


@_disable_dynamo
def run_cascade(net: Net, x: Any, cascade: Cascade) -> tuple[Tensor, ...]:
    """Low width first, unsure samples again: the cascade's margin of the integers decides. float32 ``[N, ...]``.

    Raises:
        InputError: as :func:`run_exact`.   PlanError: the output does not fit the margin.
    """
    (given,) = net.inputs.take(x)
    output, rows = None, torch.arange(len(given), device=given.device)
    for b, threshold in zip(cascade.widths, (*cascade.margins, None), strict=True):
        plan = resolve(net.space, b)
        assert isinstance(plan, Plan)
        found = run_exact(net, given[rows], plan)
        (y,) = found.outputs
        output = y if output is None else output.index_copy(0, rows, y)
        if threshold is None:
            break
        sure = cascade.sure(found.codes.cpu().numpy() - np.int64(found.value.zero), len(rows))
        unsure = torch.from_numpy(sure <= threshold)
        rows = rows[unsure.to(rows.device)]
        if not len(rows):
            break
    assert output is not None
    return (output,)
