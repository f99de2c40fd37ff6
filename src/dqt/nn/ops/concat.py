"""Join of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx

from dqt.nn.graph import Node
from dqt.nn.integers import rescale
from dqt.nn.moves import reshaped
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.concat import Concat
from dqt.program.ops.rescale import Rescale

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _concat(b: Builder, call: fx.Node) -> str:
    axis, values = _joined(b, call)
    return values[0] if len(values) == 1 else b.add(call, "concat", values, attrs={"axis": axis})


def _stack(b: Builder, call: fx.Node) -> str:
    """Values joined along a dimension that they do not have."""
    axis, values = _joined(b, call)
    shape = b.captured.shapes[values[0]]
    rows = [reshaped(b, call, value, (*shape[:axis], 1, *shape[axis:])) for value in values]
    return rows[0] if len(rows) == 1 else b.add(call, "concat", rows, attrs={"axis": axis})


def _joined(b: Builder, call: fx.Node) -> tuple[int, list[str]]:
    """Along which dimension, 0 the first after the batch, and what."""
    operands: Sequence[Any] = call.args[0]  # type: ignore[assignment]
    axis = int(b.arg(call, 1, "dim", 0)) % len(call.meta["val"].shape)
    if axis == 0:
        raise b.unsupported(call, "joins along the batch")
    return axis - 1, [b.value(call, operand) for operand in operands]


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw = torch.cat([x.master for x in ins], 1 + int(node.attrs["axis"]))
    return Signal(raw, net.edge(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    """Each operand is brought to the result's codes first."""
    codes, parts = e.net.codes(node.out), []
    for i, name in enumerate(node.ins):
        k = rescale(e.net.codes(name), codes, np.ones(1), np.zeros(1))
        part = e.define(e.fresh(f"{node.out}.{i}"), e.net.shapes[name], codes)
        e.append(Rescale(e.names[name], part, k.m, k.c, k.shift, k.lo, k.hi))
        parts.append(part)
    e.append(Concat(tuple(parts), e.result(node), node.attrs["axis"]))


OPERATOR = Operator(
    kind="concat",
    fake=_fake,
    emit=_emit,
    aten={
        **dict.fromkeys(("aten.cat.default", "aten.concat.default", "aten.concatenate.default"), _concat),
        "aten.stack.default": _stack,
    },
    own_edge=True,
    keeps_sign=True,
)
