"""Operators that give what they get: they are captured as their operand, and no node is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import fx

from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _same(b: Builder, call: fx.Node) -> str:
    return b.operand(call, call.args[0])


def _cast(b: Builder, call: fx.Node) -> str:
    """Between floating types nothing: a network computes in integers, whatever the model did. Integers become codes.

    Between types of integers nothing either: their intervals are known, and what does not fit is an error.
    """
    to, kind = (each.meta["val"].dtype for each in (call, call.all_input_nodes[0]))
    if to == kind or to.is_floating_point == kind.is_floating_point:
        return _same(b, call)
    if not to.is_floating_point:
        raise b.unsupported(call, f"casts to {to}")
    quantizer = "unsigned" if kind == torch.bool else "signed"
    return b.add(call, "requantize", [b.value(call, call.args[0])], quantizer=quantizer)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    return ins[0]


def _emit(e: Emission, node: Node) -> None:
    e.same(node)


VIEWS = ("aten.alias.default", "aten.contiguous.default", "aten.detach.default")
CASTS = ("aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten._to_copy.default", "aten.type_as.default")
OPERATOR = Operator(
    kind="identity",
    fake=_fake,
    emit=_emit,
    aten={
        **dict.fromkeys((*VIEWS, "aten.clone.default"), _same),
        **dict.fromkeys(CASTS, _cast),
    },
    moves=True,
    shares_memory=frozenset((*VIEWS, *CASTS)),
)
