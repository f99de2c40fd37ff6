"""The entry of integers."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.program.ops.read import Read

OPERATOR = Read


def add(g: Graph, op: Read) -> None:
    """An int64 input as it is; what lies outside its interval is the caller's fault."""
    g.node("Cast", [op.x], op.out, to=g.onnx.TensorProto.UINT8 if g.value(op.out).coded else g.onnx.TensorProto.INT32)
