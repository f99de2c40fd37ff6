"""ReLU and its capped forms: a clamp of the quantizer of what comes before, or a table where nothing can take it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import fx

from dqt.nn.elementwise import emit_table
from dqt.nn.graph import Node
from dqt.nn.operator import Operator, in_place_too
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def relu(b: Builder, call: fx.Node, cap: float = math.inf) -> str:
    """Append ``min(max(x, 0), cap)``."""
    return b.add(call, "relu", [b.operand(call, call.args[0])], quantizer="relu", cap=cap)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """The quantizer of the result clamps."""
    return Signal(ins[0].master, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    emit_table(e, node, lambda x: x, ())


OPERATOR = Operator(
    kind="relu",
    fake=_fake,
    emit=_emit,
    aten=in_place_too("relu.default", relu) | in_place_too("relu6.default", lambda b, call: relu(b, call, 6.0)),
)
