"""Max pooling in one and two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import fx

from dqt.nn.emission import two
from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.nn.window import geometry
from dqt.program.ops.max_pool import MaxPool

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _max_pool(b: Builder, call: fx.Node) -> str:
    dims = len(b.shape(call)) - 1
    kernel = geometry(call.args[1], dims)
    attrs = {
        "kernel": kernel,
        "stride": geometry(b.arg(call, 2, "stride") or kernel, dims),
        "padding": geometry(b.arg(call, 3, "padding", 0), dims),
        "dilation": geometry(b.arg(call, 4, "dilation", 1), dims),
        "ceil": bool(b.arg(call, 5, "ceil_mode", False)),
    }
    return b.keep(call, "max_pool", **attrs)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    a = node.attrs
    pool: Any = F.max_pool1d if len(node.shape) == 2 else F.max_pool2d
    return ins[0].like(pool(ins[0].raw, a["kernel"], a["stride"], a["padding"], a["dilation"], a["ceil"]))


def _emit(e: Emission, node: Node) -> None:
    a = node.attrs
    x, out, flatten = e.image(node, e.net.codes(node.out))
    pairs = [_padding(node, axis, length) for axis, length in enumerate(e.net.shapes[node.ins[0]][1:])]
    (top, bottom), (left, right) = pairs if len(pairs) == 2 else [(0, 0), *pairs]
    kernel, stride, dilation = (two(a[name], 1) for name in ("kernel", "stride", "dilation"))
    e.append(MaxPool(x, out, kernel, stride, (top, bottom, left, right), dilation))
    flatten()


def _padding(node: Node, axis: int, size: int) -> tuple[int, int]:
    """Padding before and after along one axis; with ceil_mode the last window may reach further than the padding."""
    a = node.attrs
    before = a["padding"][axis]
    reach = (node.shape[1 + axis] - 1) * a["stride"][axis] + a["dilation"][axis] * (a["kernel"][axis] - 1) + 1
    return before, max(0, reach - size - before)


OPERATOR = Operator(
    kind="max_pool",
    fake=_fake,
    emit=_emit,
    aten=dict.fromkeys(("aten.max_pool1d.default", "aten.max_pool2d.default"), _max_pool),
)
