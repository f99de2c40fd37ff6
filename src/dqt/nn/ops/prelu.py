"""Rectifiers whose slope below zero the model trains: one, or one for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import fx

from dqt.nn.elementwise import append_table
from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _prelu(b: Builder, call: fx.Node) -> str:
    x = b.value(call, call.args[0])
    name, slope = b.tensor(call, call.args[1])
    path = b.path(name)
    b.held[path] = (slope.reshape(-1), b.trains(call.args[1]))
    b.use(call.args[1], path, "value")
    return b.add(call, "prelu", [x], path, attrs={"path": path})


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    x = ins[0].master
    return Signal(F.prelu(x, net.held(node.attrs["path"]).to(x.dtype)), net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    slopes = e.net.held(node.attrs["path"]).detach().cpu().double().reshape(-1, 1)
    append_table(e, node, lambda x: x.clamp_min(0) + slopes * x.clamp_max(0))


OPERATOR = Operator(kind="prelu", fake=_fake, emit=_emit, aten={"aten.prelu.default": _prelu})
