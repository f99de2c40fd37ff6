"""Max pooling."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import SINGLE, Graph
from dqt.program.ops.max_pool import MaxPool

OPERATOR = MaxPool


def add(g: Graph, op: MaxPool) -> None:
    """``MaxPool`` in float32, or float64 where numbers are larger: both hold the integers, and have faster kernels.

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
        "MaxPool", [g.cast(y, "FLOAT" if x.reach < SINGLE else "DOUBLE")],
        kernel_shape=op.kernel, strides=op.stride, dilations=op.dilation,
    )  # fmt: skip
    g.node("Cast", [y], op.out, to=g.onnx.TensorProto.UINT8 if x.coded else g.onnx.TensorProto.INT32)
