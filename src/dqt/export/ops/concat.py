"""Join of values."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.program.ops.concat import Concat

OPERATOR = Concat


def add(g: Graph, op: Concat) -> None:
    """The same integers."""
    g.node("Concat", list(op.xs), op.out, axis=op.axis + 1)
