"""Dropout, which a program does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from dqt.nn.graph import Node
from dqt.nn.operator import Operator, in_place_too
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _dropout(b: Builder, call: fx.Node) -> str:
    p = float(b.arg(call, 1, "p", 0.5))
    whole = "feature" in str(call.target)  # Dropout2d drops channels
    x = b.value(call, call.args[0]) if whole else b.operand(call, call.args[0])
    return b.add(call, "dropout", [x], quantizer="same", attrs={"p": p, "whole": whole}) if p > 0 else x


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """On real values (the noise scales what is kept); the quantizer stays, so that codes saturate rather than move."""
    if not run.batch_statistics:
        return ins[0]
    drop: Any = torch.feature_dropout if node.attrs["whole"] else torch.dropout
    return ins[0].like(drop(ins[0].raw, float(node.attrs["p"]), True))


def _emit(e: Emission, node: Node) -> None:
    e.same(node)


OPERATOR = Operator(
    kind="dropout",
    fake=_fake,
    emit=_emit,
    aten=in_place_too("dropout.default", _dropout) | in_place_too("feature_dropout.default", _dropout),
    moves=True,
    shares_memory=frozenset({"aten.dropout.default", "aten.feature_dropout.default"}),
)
