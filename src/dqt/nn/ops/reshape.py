"""Another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import fx

from dqt.nn.graph import Step
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.reshape import Reshape

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _reshape(b: Builder, node: fx.Node) -> str:
    x = b.value(node, node.args[0])
    return x if b.shape(node) == b.captured.shapes[x] else b.keep(node, "reshape")


def _fake(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    raw = ins[0].raw
    return ins[0].like(raw.reshape(raw.shape[0], *step.shape))


def _emit(e: Emission, step: Step) -> None:
    e.append(Reshape(*e.moved(step)))


NAMES = (
    "aten.flatten.using_ints",
    "aten.reshape.default",
    "aten.view.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.unsqueeze.default",
)
OPERATOR = Operator(
    kind="reshape",
    fake=_fake,
    emit=_emit,
    aten=dict.fromkeys(NAMES, _reshape),
    moves=True,
    shares_memory=frozenset(NAMES),
)
