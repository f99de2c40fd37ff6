"""The largest along some axes."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.max import Max

OPERATOR = Max


def add(g: Graph, op: Max) -> None:
    """``ReduceMax`` of int32: it has no uint8 in every engine."""
    axes = g.constant([axis + 1 for axis in op.axes], np.int64)
    coded = g.value(op.x).coded
    y = g.node("ReduceMax", [g.int32(op.x), axes], "" if coded else op.out, keepdims=1)
    if coded:
        g.node("Cast", [y], op.out, to=g.onnx.TensorProto.UINT8)
