"""The integer network in torch: the program that is served, run on tensors of the network's device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from dqt.arith.cascade import Cascade
from dqt.arith.errors import InputError
from dqt.arith.plan import AUTO, Plan, resolve, uniform
from dqt.nn.hooks import warn_unheard
from dqt.nn.inputs import Input
from dqt.nn.run import Choice
from dqt.nn.tensors import TensorArrays
from dqt.program.execute import Execution, Machine
from dqt.program.passes import check_cascade
from dqt.program.signature import Signature as ProgramSignature
from dqt.program.values import State

if TYPE_CHECKING:
    from dqt.nn.net import Net
    from dqt.program.program import Program


@dataclass(frozen=True, eq=False)
class Exact:
    """What an exact run gave.

    Attributes:
        outputs: float32 ``[N, ...]`` each, dequantized.
        integers: int32 of the same shapes, before that, less the code of real 0.   scales: what 1 of each is worth.
        choice: what the controller chose, under "auto".
    """

    outputs: tuple[Tensor, ...]
    integers: tuple[Tensor, ...]
    scales: tuple[float, ...]
    choice: Choice | None


@_disable_dynamo  # integers of NumPy among tensors: torch.compile leaves the exact run as it is
@torch.no_grad()
def run_exact(net: Net, x: Any, plan: Plan | Literal["auto"]) -> Exact:
    """The integers that ``dqt.interpret`` gives for the program of ``net``, computed in torch.

    Raises:
        InputError: ``x`` has other names, shapes or dtypes, or holds a NaN or an infinity, or an integer that the
            network does not take.
    """
    given = dict(zip(net.inputs.names, net.inputs.take(x), strict=True))
    inputs = {one.name: _checked(one, given[one.name]) for one in net.inputs.each}
    warn_unheard(net)
    program = net.program()
    program = program.bind(**net.inputs.sizes(tuple(given.values()))) if program.dims else program
    state = {each.name: _quantized(inputs.pop(each.name), each) for each in program.states}
    machine = Machine(program, plan, TensorArrays(next(iter(inputs.values())).device))
    run = machine.run(inputs, state or None)
    integers, scales = zip(*_results(net, program, run), strict=True)
    if plan == AUTO and program.again:
        integers = _again(net, program, inputs, run, integers)
    outputs = tuple(q.float() * float(np.float32(scale)) for q, scale in zip(integers, scales, strict=True))
    return Exact(outputs, integers, scales, _choice(run.chosen) if plan == AUTO else None)


def _again(
    net: Net, program: Program, inputs: dict[str, Tensor], run: Execution, integers: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """``integers`` with those of another run in the place of samples that chose more bits than the first run had."""
    chosen = run.chosen[program.space.chosen[0]]
    for b, mine in run.xp.groups(chosen):
        if b > program.first:
            machine = Machine(program, uniform(program.space, b), run.xp)
            again = machine.run({name: x[mine] for name, x in inputs.items()})
            found = (q for q, _ in _results(net, program, again))
            integers = tuple(old.index_copy(0, mine, new) for old, new in zip(integers, found, strict=True))
    return integers


def _checked(one: Input, x: Tensor) -> Tensor:
    """The tensor of an input as the program takes it."""
    if one.kind == "integer":
        one.check_values(x)
        return x.long()
    x = x.float()
    if not bool(torch.isfinite(x).all()):
        what = "the input" if one.name == "input" else f"the input {one.name!r}"
        raise InputError(f"{what} contains NaN or infinity, or a number beyond float32")
    return x


def _quantized(x: Tensor, state: State) -> Tensor:
    """The integers of a state that is given in reals; those that the program gave come out as they were."""
    q = (x.double() / state.scale).round() + state.zero
    return q.clamp(state.lo, state.hi).int()


def _results(net: Net, program: Program, run: Execution) -> Iterator[tuple[Tensor, float]]:
    """Integers of each output of the network, in order, and their scale."""
    kept = {place: name for name, place in net.signature.states.items()}
    states = {state.name: state for state in program.states}
    values = {output.name: run.value(output.value) for output in program.outputs}
    for place, output in enumerate(net.outputs):
        q = run.stored[kept[place]] if place in kept else run.outputs[output.name]
        of = states[kept[place]] if place in kept else values[output.name]
        yield q.int() - of.zero, of.scale


def _choice(chosen: dict[str, Tensor]) -> Choice:
    widths = torch.stack([each.long() for each in chosen.values()], dim=1)
    return Choice(tuple(chosen), widths, torch.empty(0), torch.empty(0))


@_disable_dynamo
def run_cascade(net: Net, x: Any, cascade: Cascade) -> tuple[Tensor, ...]:
    """Low width first, unsure samples again: the cascade's margin of the integers decides. float32 ``[N, ...]``.

    Raises:
        InputError: as :func:`run_exact`.
        PlanError: the network has states or several outputs, or the output does not fit the margin.
    """
    check_cascade(ProgramSignature.of(net.program()))
    given = net.inputs.take(x)
    output, rows = None, torch.arange(len(given[0]), device=given[0].device)
    for b, threshold in zip(cascade.widths, (*cascade.margins, None), strict=True):
        plan = resolve(net.space, b)
        assert isinstance(plan, Plan)
        found = run_exact(net, tuple(each[rows] for each in given), plan)
        (y,), (integers,) = found.outputs, found.integers
        output = y if output is None else output.index_copy(0, rows, y)
        if threshold is None:
            break
        unsure = torch.from_numpy(cascade.sure(integers.cpu().numpy(), len(rows)) <= threshold)
        rows = rows[unsure.to(rows.device)]
        if not len(rows):
            break
    assert output is not None
    return (output,)
