"""Elementwise nonlinearity."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.program.ops.table import Table

OPERATOR = Table


def add(g: Graph, op: Table) -> None:
    """``Gather`` from the table."""
    g.node("Gather", [g.constant(op.table), g.int32(op.x)], op.out, axis=0)
