"""Transposed convolution: in a program, a convolution for each phase of its stride, or of an image with zeros between.

Where the kernel is a multiple of the stride, every phase of the output has as many taps, and the phases are filters of
one convolution (:class:`~dqt.nn.folds.Phases`). Elsewhere zeros stand between the pixels of the input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from dqt.nn import integers
from dqt.nn.chain import Chain
from dqt.nn.emission import two
from dqt.nn.folds import Phases
from dqt.nn.graph import Node
from dqt.nn.layered import add_layer, fake_layer
from dqt.nn.layers import fold_of
from dqt.nn.operator import Operator
from dqt.nn.ops.conv import append_conv
from dqt.nn.window import geometry

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission

Shape = tuple[int, ...]


def _conv_transpose(b: Builder, call: fx.Node) -> str:
    dims = len(b.shape(call)) - 1
    attrs: dict[str, Any] = {
        "stride": geometry(b.arg(call, 3, "stride", 1), dims),
        "padding": geometry(b.arg(call, 4, "padding", 0), dims),
        "output_padding": geometry(b.arg(call, 5, "output_padding", 0), dims),
        "dilation": geometry(b.arg(call, 7, "dilation", 1), dims),
        "groups": int(b.arg(call, 6, "groups", 1)),
    }
    turned = partial(_oriented, groups=attrs["groups"])
    return add_layer(b, call, "conv_transpose", b.value(call, call.args[0]), attrs, turned)


def _oriented(weight: Tensor, groups: int) -> Tensor:
    """The form of torch, ``[I, O / groups, ...]`` as ``[O, I / groups, ...]``."""
    parts = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
    return parts.reshape(-1, *parts.shape[2:])


@dataclass(frozen=True)
class Axis:
    """One dimension of space in the program.

    Attributes:
        before, after: zeros around the convolution's input; where they are negative, so much of it is cut.
        length: of the convolution's input, before that.   count: of its outputs.
        start: the first of the outputs, phases side by side, that the layer gives.
    """

    before: int
    after: int
    length: int
    count: int
    start: int


def _axis(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int, *, phases: bool) -> Axis:
    if phases:
        taps, first, last = kernel // stride, padding // stride, (padding + out - 1) // stride
        before, count = taps - 1 - first, last - first + 1
        return Axis(before, count + taps - 1 - size - before, size, count, padding % stride)
    reach, length = dilation * (kernel - 1), size * stride
    return Axis(reach - padding, out + padding - length, length, out, 0)


def _axes(node: Node, shape: Shape, kernel: Shape) -> list[Axis]:
    """Height and width; a height of 1 in one dimension."""
    a = node.attrs
    phases = isinstance(fold_of(kernel, a["stride"], a["dilation"]), Phases)
    sides = zip(shape[1:], node.shape[1:], kernel, a["stride"], a["padding"], a["dilation"], strict=True)
    axes = [_axis(*each, phases=phases) for each in sides]
    return axes if len(axes) == 2 else [Axis(0, 0, 1, 1, 0), *axes]


def _counts(node: Node, weight: Shape, shape: Shape) -> tuple[int, int, int]:
    rows, columns = _axes(node, shape, weight[2:])
    phases = isinstance(fold_of(weight[2:], node.attrs["stride"], node.attrs["dilation"]), Phases)
    copies = math.prod(node.attrs["stride"]) if phases else 1
    outputs = weight[0] * copies * rows.count * columns.count
    read = [axis.length + min(0, axis.before) + min(0, axis.after) for axis in (rows, columns)]
    return outputs * math.prod(weight[1:]) // copies, shape[0] * math.prod(read), outputs


def _emit(e: Emission, node: Node) -> None:
    k, layer, shape = integers.layer_integers(e.net, node), e.net.layer(node.layer), e.net.shapes[node.ins[0]]
    stride, dilation, phases = two(node.attrs["stride"], 1), (1, 1), isinstance(layer.fold, Phases)
    rows, columns = axes = _axes(node, shape, layer.shape[2:])
    before = Chain(shape).reshape(shape[0], *two(shape[1:], 1))
    if not phases:
        dilation = two(node.attrs["dilation"], 1)
        _spread(before, stride)
    cut = [(max(0, -axis.before), axis.length - max(0, -axis.after)) for axis in axes]
    before.cut((0, *(first for first, _ in cut)), (shape[0], *(last for _, last in cut)))
    after = Chain((len(k.weight), rows.count, columns.count))
    produced = after.shape
    if phases:
        _interleave(after, layer.shape[0], stride)
    height, width = two(node.shape[1:], 1)
    after.cut((0, rows.start, columns.start), (layer.shape[0], rows.start + height, columns.start + width))
    after.reshape(*node.shape)
    x = before.emit(e, e.source(node), e.fresh(f"{node.out}.in"))
    out = e.define(e.fresh(f"{node.out}.phases") if after else node.out, produced, k.out)
    padding = (max(0, rows.before), max(0, rows.after), max(0, columns.before), max(0, columns.after))
    append_conv(e, node, k, (x, out), (1, 1), padding, dilation)
    e.names[node.out] = after.emit(e, out, node.out)


def _spread(x: Chain, stride: tuple[int, int]) -> None:
    """Zeros after each pixel."""
    channels, height, width = x.shape
    x.reshape(channels, height, 1, width, 1).pad((0, 0, 0, 0, 0), (0, 0, stride[0] - 1, 0, stride[1] - 1))
    x.reshape(channels, height * stride[0], width * stride[1])


def _interleave(y: Chain, channels: int, stride: tuple[int, int]) -> None:
    """Phases side by side: ``(C * phases, H, W)`` to ``(C, H * stride, W * stride)``."""
    _, height, width = y.shape
    y.reshape(channels, *stride, height, width).transpose(0, 3, 1, 4, 2)
    y.reshape(channels, height * stride[0], width * stride[1])


OPERATOR = Operator(
    kind="conv_transpose",
    fake=fake_layer,
    emit=_emit,
    aten=dict.fromkeys(("aten.conv_transpose1d.default", "aten.conv_transpose2d.input"), _conv_transpose),
    own_quantizer=True,
    counts=_counts,
)
