"""Integers that a run before left."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.export.names import state_in
from dqt.program.ops.recall import Recall

OPERATOR = Recall


def add(g: Graph, op: Recall) -> None:
    """A state is an input of its integers, int32."""
    kind = g.onnx.TensorProto.UINT8 if g.value(op.out).coded else g.onnx.TensorProto.INT32
    g.node("Cast", [state_in(op.state)], op.out, to=kind)
