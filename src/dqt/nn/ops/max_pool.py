"""Max pooling in one to three dimensions, with windows of a size or into a number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import fx

from dqt.nn.emission import two
from dqt.nn.graph import Node
from dqt.nn.moves import images, reshaped, taken
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.nn.window import geometry
from dqt.program.ops.max_pool import MaxPool

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


Geometry = Mapping[str, tuple[int, ...]]


def _max_pool(b: Builder, call: fx.Node) -> str:
    x, (_, *sides) = images(b, call)
    kernel = geometry(call.args[1], len(sides))
    given = {
        "kernel": kernel,
        "stride": b.arg(call, 2, "stride") or kernel,
        "padding": b.arg(call, 3, "padding", 0),
        "dilation": b.arg(call, 4, "dilation", 1),
    }
    windows = {name: geometry(value, len(sides)) for name, value in given.items()}
    y = _pooled(b, call, x, windows, tuple(sides), ceil=bool(b.arg(call, 5, "ceil_mode", False)))
    return reshaped(b, call, y, b.shape(call))


def _adaptive(b: Builder, call: fx.Node) -> str:
    """Windows of unequal length become equally long: the last element of a short one is there twice."""
    x, (_, *sides) = images(b, call)
    shape, lengths = b.captured.shapes[x], list[int]()
    for axis, (count, size) in enumerate(zip(sides, shape[1:], strict=True), start=1):
        ends = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
        length = max(last - first for first, last in ends)
        taps = [min(first + i, last - 1) for first, last in ends for i in range(length)]
        x, lengths = taken(b, call, x, axis, taps), [*lengths, length]
    kernel, ones = tuple(lengths), (1,) * len(sides)
    windows = {"kernel": kernel, "stride": kernel, "padding": (0,) * len(sides), "dilation": ones}
    return reshaped(b, call, _pooled(b, call, x, windows, tuple(sides)), b.shape(call))


def _pooled(b: Builder, call: fx.Node, x: str, windows: Geometry, sides: tuple[int, ...], *, ceil: bool = False) -> str:
    """Append the pooling of ``x`` into ``sides``. In three dimensions: over height and width, then over depth."""
    channels, *rest = b.captured.shapes[x]
    if len(sides) < 3:
        attrs = {**windows, "ceil": ceil}
        return b.add(call, "max_pool", [x], quantizer="same", attrs=attrs, shape=(channels, *sides))
    image = reshaped(b, call, x, (channels * rest[0], *rest[1:]))
    flat = {name: value[1:] for name, value in windows.items()}
    image = _pooled(b, call, image, flat, sides[1:], ceil=ceil)
    column = reshaped(b, call, image, (channels, rest[0], sides[1] * sides[2]))
    alone = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1}
    deep = {name: (value[0], alone[name]) for name, value in windows.items()}
    column = _pooled(b, call, column, deep, (sides[0], sides[1] * sides[2]), ceil=ceil)
    return reshaped(b, call, column, (channels, *sides))


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    a = node.attrs
    pool: Any = F.max_pool1d if len(node.shape) == 2 else F.max_pool2d
    return ins[0].like(pool(ins[0].raw, a["kernel"], a["stride"], a["padding"], a["dilation"], a["ceil"]))


def _emit(e: Emission, node: Node) -> None:
    a = node.attrs
    x, out, flatten = e.image(node, e.codes(node.ins[0]))
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
    moves=True,
    aten={
        **{f"aten.max_pool{dims}d.default": _max_pool for dims in (1, 2, 3)},
        **{f"aten.adaptive_max_pool{dims}d.default": _adaptive for dims in (1, 2, 3)},
    },
)
