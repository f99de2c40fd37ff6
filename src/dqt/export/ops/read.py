"""The entry of integers."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.program.ops.read import Read

OPERATOR = Read


def add(g: Graph, op: Read) -> None:
    """An int64 input as it is; what lies outside its interval is the caller's fault."""
    short = g.offset(op.out)
    tensor = g.cast(op.x, "INT32")
    if short:
        tensor = g.cast(g.node("Sub", [tensor, g.constant(short, "int32")]), "INT8")
    g.node("Identity", [tensor], op.out)
