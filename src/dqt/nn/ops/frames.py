"""Convolution of several images a sample, which the model counts in the dimension of the batch (``[N * k, C, H, W]``).

The value is ``[N, C, k, H, W]``. In a program the images of a sample stand one below the other, with the zeros of their
padding between them, so high that no window reads two.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dqt.nn import integers
from dqt.nn.chain import Chain
from dqt.nn.emission import two
from dqt.nn.graph import Node
from dqt.nn.layered import fake_layer
from dqt.nn.operator import Operator
from dqt.nn.ops.conv import append_conv
from dqt.nn.window import Shape

if TYPE_CHECKING:
    from dqt.nn.emission import Emission


def _heights(node: Node, kernel: Shape, height: int) -> tuple[int, int]:
    """Rows of an image with its padding, a multiple of the stride, and how many rows of outputs it has."""
    stride, (top, bottom, *_) = node.attrs["stride"][0], node.attrs["padding"]
    rows = -(-(height + top + bottom) // stride) * stride
    return rows, rows // stride


def _counts(node: Node, weight: Shape, shape: Shape) -> tuple[int, int, int]:
    """Of two-dimensional images, with all rows that are computed."""
    channels, frames, *space = shape
    if len(space) == 1:
        outputs = math.prod(node.shape)
        return outputs * math.prod(weight[1:]), math.prod(shape), outputs
    rows, made = _heights(node, weight[2:], space[0])
    outputs = node.shape[0] * frames * made * node.shape[-1]
    return outputs * math.prod(weight[1:]), channels * frames * rows * space[1], outputs


def _emit(e: Emission, node: Node) -> None:
    a, k = node.attrs, integers.layer_integers(e.net, node)
    shape, out = e.net.shapes[node.ins[0]], node.shape
    before, padding, bands = Chain(shape), (0, 0, *a["padding"]), (out[1], 1)
    if len(shape) == 4:
        channels, frames, height, width = shape
        rows, made = _heights(node, k.weight.shape[2:], height)
        top, _, *sides = a["padding"]
        before.pad((0, 0, top, 0), (0, 0, rows - height - top, 0)).reshape(channels, frames * rows, width)
        reach = a["dilation"][0] * (k.weight.shape[2] - 1) + 1
        padding, bands = (0, max(0, reach - a["stride"][0]), *sides), (frames, made)
    x = before.emit(e, e.source(node), e.fresh(f"{node.out}.in"))
    image = (out[0], math.prod(bands), out[-1])
    y = e.define(e.fresh(f"{node.out}.rows"), image, k.out)
    append_conv(e, node, k, (x, y), two(a["stride"], 1), padding, two(a["dilation"], 1))
    after = Chain(image)
    if len(shape) == 4:
        after.reshape(out[0], *bands, out[-1]).cut((0,) * 4, out)
    e.names[node.out] = after.emit(e, y, node.out)


OPERATOR = Operator(kind="frames", fake=fake_layer, emit=_emit, own_quantizer=True, counts=_counts)
