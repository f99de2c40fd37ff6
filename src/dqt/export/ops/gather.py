"""Elements along an axis."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.program.ops.gather import Gather

OPERATOR = Gather


def add(g: Graph, op: Gather) -> None:
    """The same integers."""
    g.node("Gather", [op.x, g.constant(op.indices)], op.out, axis=op.axis + 1)
