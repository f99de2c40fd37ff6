"""Dimensions in another order."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.program.ops.transpose import Transpose

OPERATOR = Transpose


def add(g: Graph, op: Transpose) -> None:
    """The same integers."""
    g.node("Transpose", [op.x], op.out, perm=[0, *(axis + 1 for axis in op.axes)])
