"""Zeros around a value, or copies of its own elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import fx

from dqt.nn.calls import module_path
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
    number = float(value or 0)
    if mode == "constant" and not math.isfinite(number):
        raise b.unsupported(call, f"pads with {value}, amounts {amounts}; only finite numbers can be added")
    pairs = [(0, 0)] * len(shape)
    for dim, pair in enumerate(zip(amounts[0::2], amounts[1::2], strict=True), start=1):
        if pair != (0, 0):
            pairs[b.placements.axis(call, source, -dim)] = pair
    if mode != "constant":
        return _copies(b, call, pairs, mode)
    x = b.operand(call, call.args[0])
    for axis, (first, last) in enumerate(pairs):  # a negative amount takes elements away
        x = taken(b, call, x, axis, range(max(0, -first), b.captured.shapes[x][axis] - max(0, -last)))
    return _numbers(b, call, x, pairs, number) if number else _zeros(b, call, x, pairs)


def _numbers(b: Builder, call: fx.Node, x: str, pairs: list[tuple[int, int]], number: float) -> str:
    """A number around a value: joins with constants."""
    for axis, pair in enumerate(pairs):
        shape = b.captured.shapes[x]
        lengths = [max(0, each) for each in pair]
        first, last = (_constant(b, call, (*shape[:axis], n, *shape[axis + 1 :]), number) for n in lengths)
        parts = [*first, x, *last]
        whole = (*shape[:axis], shape[axis] + sum(lengths), *shape[axis + 1 :])
        x = x if len(parts) == 1 else b.add(call, "concat", parts, shape=whole, attrs={"axis": axis})
    return x


def _constant(b: Builder, call: fx.Node, shape: tuple[int, ...], number: float) -> list[str]:
    """A value of one number; none where it has no elements."""
    if 0 in shape:
        return []
    path = b.path(".".join(part for part in (module_path(call), call.name, "value") if part))
    b.held[path] = (torch.full(shape, number), False)
    kind = "unsigned" if number > 0 else "signed"
    return [b.add(call, "constant", [b.first], path, quantizer=kind, shape=shape, attrs={"path": path})]


def _zeros(b: Builder, call: fx.Node, x: str, pairs: list[tuple[int, int]]) -> str:
    """Zeros around a value."""
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
