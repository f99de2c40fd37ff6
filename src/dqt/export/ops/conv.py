"""Convolution."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.export.layer import add_layer
from dqt.program.ops.conv import Conv

OPERATOR = Conv


def add(g: Graph, op: Conv) -> None:
    """``ConvInteger``, whose padding is the operand's zero point."""
    top, bottom, left, right = op.padding

    def product(x: str, weight: str, zero: str, middle: str) -> str:
        return g.node(
            "ConvInteger", [x, weight, zero, middle],
            kernel_shape=op.weight.shape[2:], strides=op.stride, pads=[top, left, bottom, right],
            dilations=op.dilation, group=op.groups,
        )  # fmt: skip

    add_layer(g, op, product, (-1, 1, 1))
