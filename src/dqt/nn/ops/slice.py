"""A part of a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import fx

from dqt.nn.graph import Step
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net
from dqt.program.ops.slice import Slice


def _slice(b: Builder, node: fx.Node) -> str:
    x = b.value(node, node.args[0])
    shape = b.captured.shapes[x]
    dim = int(b.arg(node, 1, "dim", 0)) % (len(shape) + 1)
    start, stop, step = b.arg(node, 2, "start"), b.arg(node, 3, "end"), int(b.arg(node, 4, "step", 1))
    if dim == 0:
        if start in (None, 0) and step == 1 and stop in (None, 2**63 - 1):
            return x
        raise b.unsupported(node, "slices the batch")
    first, last, _ = slice(start, stop).indices(shape[dim - 1])
    if (first, last, step) == (0, shape[dim - 1], 1):
        return x
    starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[dim - 1], stops[dim - 1], steps[dim - 1] = first, last, step
    return b.keep(node, "slice", starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))


def _fake(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    a = step.attrs
    cuts = [slice(*cut) for cut in zip(a["starts"], a["stops"], a["steps"], strict=True)]
    return ins[0].like(ins[0].raw[(slice(None), *cuts)])


def _emit(e: Emission, step: Step) -> None:
    a = step.attrs
    e.append(Slice(*e.moved(step), a["starts"], a["stops"], a["steps"]))


OPERATOR = Operator(
    kind="slice",
    fake=_fake,
    emit=_emit,
    aten={"aten.slice.Tensor": _slice},
    moves=True,
    shares_memory=frozenset({"aten.slice.Tensor"}),
)
