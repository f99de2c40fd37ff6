"""The controller's decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.choose import Choose

if TYPE_CHECKING:
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    logits = ins[0].raw.float().reshape(-1, len(net.space.chosen), len(net.space.choices))
    run.decide(net.space.chosen, net.space.choices, logits, run.noise)
    return ins[0]


def _emit(e: Emission, node: Node) -> None:
    e.append(Choose(e.source(node), e.net.space.chosen, e.net.space.choices))


OPERATOR = Operator(kind="choose", fake=_fake, emit=_emit)
