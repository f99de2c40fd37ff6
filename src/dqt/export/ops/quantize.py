"""The entry from float."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.quantize import Quantize

OPERATOR = Quantize


def add(g: Graph, op: Quantize) -> None:
    """Multiply, add and round half to even in float32, then the zero point and the clip."""
    value = g.value(op.out)
    shape = [1] * len(value.shape)
    shape[op.axis] = -1
    x = g.node("Mul", [op.x, g.constant(op.gain.reshape(shape))])
    x = g.node("Round", [g.node("Add", [x, g.constant(op.bias.reshape(shape))])])
    x = g.node("Add", [x, g.constant(np.float32(value.zero))]) if value.zero else x
    x = g.node("Clip", [x, g.constant(np.float32(value.lo)), g.constant(np.float32(value.hi))])
    g.node("Cast", [x], op.out, to=g.onnx.TensorProto.UINT8 if value.coded else g.onnx.TensorProto.INT32)
