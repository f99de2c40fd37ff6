"""The largest integers along the last dimension."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.top_k import TopK

OPERATOR = TopK


def add(g: Graph, op: TopK) -> None:
    """``TopK`` of int32, sorted: it has no uint8 in every engine."""
    coded = g.value(op.x).coded
    ins = [g.int32(op.x), g.constant([op.count], np.int64)]
    y = g.node("TopK", ins, "" if coded else op.out, also=1)
    if coded:
        g.node("Cast", [y], op.out, to=g.onnx.TensorProto.UINT8)
