"""Join of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx

from dqt.nn.assign import copied
from dqt.nn.graph import Node
from dqt.nn.integers import rescale
from dqt.nn.moves import reshaped
from dqt.nn.operator import Operator
from dqt.nn.placement import Placement
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.concat import Concat
from dqt.program.ops.rescale import Rescale

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _concat(b: Builder, call: fx.Node) -> str:
    values, placed, dim = _operands(b, call)
    if dim == placed.dim:
        return _along_batch(b, call, values)
    return _joined(b, call, values, placed.axis(dim))


def _stack(b: Builder, call: fx.Node) -> str:
    """Values joined along a dimension that they do not have."""
    values, placed, dim = _operands(b, call)
    placed = replace(placed, dim=placed.dim + (dim <= placed.dim))
    b.placements.put(call, placed)
    first: Any = call.args[0]
    axis, shape = placed.axis(dim), b.captured.shapes[values[0]][: b.placements.axes(first[0])]
    return _joined(b, call, [reshaped(b, call, value, (*shape[:axis], 1, *shape[axis:])) for value in values], axis)


def _joined(b: Builder, call: fx.Node, values: list[str], axis: int | None) -> str:
    return values[0] if len(values) == 1 else b.add(call, "concat", values, attrs={"axis": axis})


def _operands(b: Builder, call: fx.Node) -> tuple[list[str], Placement, int]:
    """What is joined, where the batches stand, and the dimension of the model's tensor along which it is."""
    operands: Sequence[Any] = call.args[0]  # type: ignore[assignment]
    values = [b.operand(call, operand) for operand in operands]
    placed = {b.placements.of(operand) for operand in operands}
    dim = int(b.arg(call, 1, "dim", 0)) % call.meta["val"].dim()
    first = b.placements.of(operands[0])
    if len(placed) > 1 and not all(p == replace(first, before=p.before) and dim == p.dim for p in placed):
        raise b.unsupported(
            call, "joins tensors whose batches stand in different dimensions, or are counted differently"
        )
    return values, first, dim


def _along_batch(b: Builder, call: fx.Node, values: list[str]) -> str:
    """Batches one after the other: each sample of the result has one of each."""
    parts, placed = [], [b.placements.of(operand) for operand in call.args[0]]  # type: ignore[union-attr, arg-type]
    axis = placed[0].dim
    for value, p in zip(values, placed, strict=True):
        shape = b.captured.shapes[value]
        parts.append(value if p.before > 1 else reshaped(b, call, value, (*shape[:axis], 1, *shape[axis:])))
    b.placements.put(call, replace(placed[0], before=sum(p.before for p in placed)))
    return _joined(b, call, parts, axis)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw = torch.cat([x.master for x in ins], 1 + int(node.attrs["axis"]))
    return Signal(raw, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    """Each operand is brought to the result's codes first."""
    codes, parts = e.result_codes(node, max(e.reach(node, i) for i in range(len(node.ins)))), []
    for i, name in enumerate(node.ins):
        k = rescale(e.codes(name), codes, np.ones(1), np.zeros(1))
        part = e.define(e.fresh(f"{node.out}.{i}"), e.net.shapes[name], codes)
        e.append(Rescale(e.names[name], part, k.m, k.c, k.shift, k.lo, k.hi))
        parts.append(part)
    e.append(Concat(tuple(parts), e.result(node, codes), node.attrs["axis"]))


OPERATOR = Operator(
    kind="concat",
    fake=_fake,
    emit=_emit,
    aten={
        **dict.fromkeys(("aten.cat.default", "aten.concat.default", "aten.concatenate.default"), _concat),
        "aten.stack.default": _stack,
        **dict.fromkeys(("aten.copy_.default", "aten.fill_.Scalar", "aten.fill_.Tensor", "aten.zero_.default"), copied),
    },
    own_quantizer=True,
    int32_result=True,
    int32_operands=True,
    keeps_sign=True,
)
