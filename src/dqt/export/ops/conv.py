"""Convolution."""

from __future__ import annotations

from itertools import product as pairs
from typing import Any

import numpy as np

from dqt.export.alike import Numbers
from dqt.export.graph import SINGLE, Graph
from dqt.export.layer import add_layer
from dqt.export.products import CONV, MATMUL, product, rounded_product
from dqt.program.ops.conv import Conv

OPERATOR = Conv
LARGEST = 1 << 15
"""No product of a weight and a code is larger."""
LEAST_CHANNELS = 128
"""Windows of as many channels are faster as rows of a matrix, whose kernels have the weights packed beforehand."""


def add(g: Graph, op: Conv) -> None:
    """``QLinearConv`` where float32 rounds as the program does.

    Otherwise ``ConvInteger``, padded with the operand's zero point; ``MatMulInteger`` of windows; ``Conv`` in float32.
    """
    _, channels, *kernel = op.weight.shape
    form = _direct
    if op.groups == 1 and channels >= LEAST_CHANNELS and kernel != [1, 1]:
        form = _matrix
    elif channels == 1 < op.groups and op.weight[0].size * LARGEST < SINGLE:
        form = _single
    macs = op.counts(g.values).macs

    def in_one(ins: tuple[str, str], zeros: tuple[int, int], found: Numbers, zero: int) -> str:
        return rounded_product(g, ins, zeros, found, zero, macs, **_attributes(op))

    add_layer(g, op, lambda ins, zeros: form(g, op, ins, zeros), (-1, 1, 1), in_one)


def _direct(g: Graph, op: Conv, ins: tuple[str, str], zeros: tuple[int, int]) -> str:
    return product(g, CONV, ins, zeros, op.counts(g.values).macs, **_attributes(op))


def _single(g: Graph, op: Conv, ins: tuple[str, str], zeros: tuple[int, int]) -> str:
    """Of one channel each. Every partial sum is an integer that float32 holds, in whatever order an engine adds."""
    x, weight = (
        g.node("Sub", [g.cast(tensor, "FLOAT"), g.constant(np.float32(zero))])
        for tensor, zero in zip(ins, zeros, strict=True)
    )
    return g.node("Conv", [x, weight], **_attributes(op))


def _attributes(op: Conv) -> dict[str, Any]:
    top, bottom, left, right = op.padding
    return {
        "kernel_shape": op.weight.shape[2:], "strides": op.stride, "pads": [top, left, bottom, right],
        "dilations": op.dilation, "group": op.groups,
    }  # fmt: skip


def _matrix(g: Graph, op: Conv, ins: tuple[str, str], zeros: tuple[int, int]) -> str:
    channels, taps = op.weight.shape[0], op.weight[0].size
    weight = g.node("Transpose", [ins[1]], perm=[2, 3, 1, 0])
    weight = g.node("Reshape", [weight, g.constant([taps, channels], np.int64)])
    rows = g.node("Reshape", [_windows(g, op, ins[0], zeros[0]), g.constant([0, -1, taps], np.int64)])
    y = product(g, MATMUL, (rows, weight), zeros, op.counts(g.values).macs)
    shape = g.constant([0, *g.value(op.out).shape], np.int64)
    return g.node("Reshape", [g.node("Transpose", [y], perm=[0, 2, 1]), shape])


def _windows(g: Graph, op: Conv, x: str, zero: int) -> str:
    """What each output reads, ``[N, H, W, taps * C]``: the input at each tap, strided, side by side."""
    top, bottom, left, right = op.padding
    x = g.node("Transpose", [x], perm=[0, 2, 3, 1])
    if any(op.padding):
        pads = g.constant([0, top, left, 0, 0, bottom, right, 0], np.int64)
        x = g.node("Pad", [x, pads, g.constant(np.uint8(zero))])
    sides, stride = np.array(g.value(op.out).shape[1:]), np.array(op.stride)
    taps = []
    for tap in pairs(*(range(side) for side in op.weight.shape[2:])):
        start = np.array(tap) * op.dilation
        bounds = (start, start + (sides - 1) * stride + 1, np.array([1, 2]), stride)
        taps.append(g.node("Slice", [x, *(g.constant(each, np.int64) for each in bounds)]))
    return g.node("Concat", taps, axis=3)
