"""Zeros around a value, or copies of its own elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import fx

from dqt.nn.graph import Node
from dqt.nn.moves import taken
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.pad import Pad

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _pad(b: Builder, call: fx.Node) -> str:
    source = call.args[0]
    assert isinstance(source, fx.Node)
    shape = b.captured.shapes[b.operand(call, source)]
    mode, value = str(b.arg(call, 2, "mode", "constant")), b.arg(call, 3, "value", 0)
    if str(call.target) == "aten.constant_pad_nd.default":
        mode, value = "constant", b.arg(call, 2, "value", 0)
    given: Any = call.args[1]
    amounts = [int(v) for v in given]
    if mode == "constant" and value not in (None, 0, 0.0):
        raise b.unsupported(call, f"pads with {value}, amounts {amounts}; only zeros can be added")
    pairs = [(0, 0)] * len(shape)
    for dim, pair in enumerate(zip(amounts[0::2], amounts[1::2], strict=True), start=1):
        if pair != (0, 0):
            pairs[b.placements.axis(call, source, -dim)] = pair
    return _zeros(b, call, pairs) if mode == "constant" else _copies(b, call, pairs, mode)


def _zeros(b: Builder, call: fx.Node, pairs: list[tuple[int, int]]) -> str:
    """Zeros around a value; a negative number of them takes elements away."""
    x = b.operand(call, call.args[0])
    for axis, (first, last) in enumerate(pairs):
        x = taken(b, call, x, axis, range(max(0, -first), b.captured.shapes[x][axis] - max(0, -last)))
    before, after = (tuple(max(0, pair[side]) for pair in pairs) for side in (0, 1))
    if not any(before + after):
        return x
    shape = tuple(map(sum, zip(before, b.captured.shapes[x], after, strict=True)))
    return b.add(call, "pad", [x], quantizer="same", shape=shape, attrs={"before": before, "after": after})


def _copies(b: Builder, call: fx.Node, pairs: list[tuple[int, int]], mode: str) -> str:
    """Elements of the value itself around it: reflected, repeated or from the other end, as torch does it."""
    x = b.operand(call, call.args[0])
    for axis, pair in enumerate(pairs):
        if pair != (0, 0):
            line = torch.arange(b.captured.shapes[x][axis], dtype=torch.float64)
            x = taken(b, call, x, axis, F.pad(line[None, None], pair, mode=mode).flatten().long().tolist())
    return x


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    pairs = zip(reversed(node.attrs["before"]), reversed(node.attrs["after"]), strict=True)
    return ins[0].like(F.pad(ins[0].raw, [v for pair in pairs for v in pair]))


def _emit(e: Emission, node: Node) -> None:
    e.append(Pad(*e.moved(node), node.attrs["before"], node.attrs["after"]))


OPERATOR = Operator(
    kind="pad",
    fake=_fake,
    emit=_emit,
    moves=True,
    aten=dict.fromkeys(("aten.pad.default", "aten.constant_pad_nd.default"), _pad),
)
