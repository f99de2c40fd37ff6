"""Integers that a run before left."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.recall import Recall

OPERATOR = Recall


def add(g: Graph, op: Recall) -> None:
    """A state is an input of its integers, int32."""
    short = g.offset(op.out)
    if short:
        less = g.node("Sub", [g.state_in(op.state), g.constant(short, np.int32)])
        g.node("Cast", [less], op.out, to=g.onnx.TensorProto.INT8)
    else:
        g.node("Identity", [g.state_in(op.state)], op.out)
