"""Max pooling."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.max_pool import MaxPool

OPERATOR = MaxPool


def add(g: Graph, op: MaxPool) -> None:
    """``MaxPool`` compares uint8 as it compares codes; it has no int32, and float64 holds every int32.

    Padding is an operator of its own, of the smallest number: the reference evaluator of onnx reads uneven pads of a
    MaxPool in another order.
    """
    x = g.value(op.x)
    top, bottom, left, right = op.padding
    y = op.x
    if any(op.padding):
        pads = g.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
        y = g.node("Pad", [y, pads, g.constant(x.lo, np.uint8 if x.coded else np.int32)])
    y = g.node(
        "MaxPool", [y if x.coded else g.cast(y, "DOUBLE")], op.out if x.coded else "",
        kernel_shape=op.kernel, strides=op.stride, dilations=op.dilation,
    )  # fmt: skip
    if not x.coded:
        g.node("Cast", [y], op.out, to=g.onnx.TensorProto.INT32)
