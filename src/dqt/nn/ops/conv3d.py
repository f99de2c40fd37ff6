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
from dqt.nn.ops.conv import append_conv
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
    return add_layer(b, call, "conv3d", b.value(call, call.args[0]), attrs)


def windows(node: Node, kernel: tuple[int, ...], axis: int) -> list[int]:
    """The places along depth (0) or height (1) that each output reads, one after the other, in the padded input."""
    stride, dilation = node.attrs["stride"][axis], node.attrs["dilation"][axis]
    return [i * stride + k * dilation for i in range(node.shape[1 + axis]) for k in range(kernel[axis])]


def _counts(node: Node, weight: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The rows that are read hold each element as often as windows over depth and height do."""
    outputs, rows = math.prod(node.shape), math.prod(weight[2:4]) * math.prod(node.shape[1:3])
    return outputs * math.prod(weight[1:]), shape[0] * rows * shape[3], outputs


def _emit(e: Emission, node: Node) -> None:
    a, k = node.attrs, integers.layer_integers(e.net, node)
    kernel = e.net.layer(node.layer).shape[2:]
    front, back, top, bottom, left, right = a["padding"]
    count, depth, height, width = node.shape
    before = Chain(e.net.shapes[node.ins[0]]).pad((0, front, top, 0), (0, back, bottom, 0))
    before.gather(1, windows(node, kernel, 0)).gather(2, windows(node, kernel, 1))
    channels, *_, columns = before.shape
    before.reshape(channels, depth, kernel[0], height, kernel[1], columns).transpose(0, 2, 4, 1, 3, 5)
    before.reshape(channels * math.prod(kernel[:2]), depth * height, columns)
    after = Chain((count, depth * height, width)).reshape(*node.shape)
    x = before.emit(e, e.source(node), e.fresh(f"{node.out}.in"))
    out = e.define(e.fresh(f"{node.out}.rows"), (count, depth * height, width), k.out)
    append_conv(e, node, k, (x, out), (1, a["stride"][2]), (0, 0, left, right), (1, a["dilation"][2]))
    e.names[node.out] = after.emit(e, out, node.out)


OPERATOR = Operator(
    kind="conv3d",
    fake=fake_layer,
    emit=_emit,
    aten=dict.fromkeys(("aten.conv3d.default", "aten.conv3d.padding"), _conv3d),
    own_quantizer=True,
    counts=_counts,
)
