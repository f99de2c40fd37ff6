"""Convolution in three dimensions: in a program, one over rows, with depth and height of the window as channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import fx

from dqt.nn import integers
from dqt.nn.chain import Chain
from dqt.nn.graph import Node
from dqt.nn.layered import add_layer, fake_layer
from dqt.nn.operator import Operator
from dqt.nn.ops.conv import append_conv, over_frames
from dqt.nn.window import geometry, padded

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission


def _conv3d(b: Builder, call: fx.Node) -> str:
    kernel = tuple(b.tensor(call, call.args[1])[1].shape[2:])
    dilation = geometry(b.arg(call, 5, "dilation", 1), 3)
    attrs = {
        "stride": geometry(b.arg(call, 3, "stride", 1), 3),
        "padding": padded(b.arg(call, 4, "padding", 0), kernel, dilation),
        "dilation": dilation,
        "groups": int(b.arg(call, 6, "groups", 1)),
    }
    b.operand(call, call.args[0])
    placed = b.placements.of(call.args[0])  # type: ignore[arg-type]
    if placed.dim == 0 and placed.extra:
        b.placements.put(call, placed)
        return over_frames(b, call, "conv3d", attrs)
    return add_layer(b, call, "conv3d", b.value(call, call.args[0]), attrs)


def windows(node: Node, kernel: tuple[int, ...], axis: int) -> list[int]:
    """The places along depth (0) or height (1) that each output reads, one after the other, in the padded input."""
    stride, dilation = node.attrs["stride"][axis], node.attrs["dilation"][axis]
    return [i * stride + k * dilation for i in range(node.shape[axis - 3]) for k in range(kernel[axis])]


def _counts(node: Node, weight: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The rows that are read hold each element as often as windows over depth and height do."""
    outputs, rows = math.prod(node.shape), math.prod(weight[2:4]) * math.prod(node.shape[1:-1])
    return outputs * math.prod(weight[1:]), shape[0] * rows * shape[-1], outputs


def _emit(e: Emission, node: Node) -> None:
    k, a = integers.layer_integers(e.net, node), node.attrs
    kernel = e.net.layer(node.layer).shape[2:]
    before = _rows(node, e.net.shapes[node.ins[0]], kernel)
    made = (node.shape[0], math.prod(node.shape[1:-1]), node.shape[-1])
    x = before.emit(e, e.source(node), e.fresh(f"{node.out}.in"))
    out = e.define(e.fresh(f"{node.out}.rows"), made, k.out)
    append_conv(e, node, k, (x, out), (1, a["stride"][2]), (0, 0, *a["padding"][4:]), (1, a["dilation"][2]))
    e.names[node.out] = Chain(made).reshape(*node.shape).emit(e, out, node.out)


def _rows(node: Node, shape: tuple[int, ...], kernel: tuple[int, ...]) -> Chain:
    """What every row of outputs reads, as channels: ``[C * KD * KH, rows, W]`` of a value ``[C, D, H, W]``.

    Several clips a sample, ``[C, k, D, H, W]``, stand one behind the other, each in zeros of its own.
    """
    front, back, top, bottom, *_ = node.attrs["padding"]
    channels, *clips, depth, height, width = shape
    clear, deep = (0,) * len(clips), depth + front + back
    count = math.prod(clips)
    before = Chain(shape).pad((0, *clear, front, top, 0), (0, *clear, back, bottom, 0))
    before.reshape(channels, count * deep, height + top + bottom, width)
    along = windows(node, kernel, 0)
    before.gather(1, [clip * deep + place for clip in range(count) for place in along])
    before.gather(2, windows(node, kernel, 1))
    slices, lines = count * node.shape[-3], node.shape[-2]
    before.reshape(channels, slices, kernel[0], lines, kernel[1], width).transpose(0, 2, 4, 1, 3, 5)
    return before.reshape(channels * math.prod(kernel[:2]), slices * lines, width)


OPERATOR = Operator(
    kind="conv3d",
    fake=fake_layer,
    emit=_emit,
    aten=dict.fromkeys(("aten.conv3d.default", "aten.conv3d.padding"), _conv3d),
    own_quantizer=True,
    counts=_counts,
)
