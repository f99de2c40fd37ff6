"""The decision of a controller inside of the network, or behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.choose_late import ChooseLate

if TYPE_CHECKING:
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """One choice for all layers; noise is that of the first of them."""
    layers = node.attrs["layers"]
    logits = ins[0].raw.float()[:, None].expand(-1, len(layers), -1)
    run.decide(layers, net.space.choices, logits, None if run.noise is None else run.noise[:, :1])
    return ins[0]


def _emit(e: Emission, node: Node) -> None:
    a = node.attrs
    e.append(ChooseLate(e.source(node), a["layers"], e.net.space.choices, a["first"], a["again"]))


OPERATOR = Operator(kind="choose_late", fake=_fake, emit=_emit)
