"""Elementwise nonlinearity."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import OFFSET, Graph
from dqt.program.ops.table import Table

OPERATOR = Table


def add(g: Graph, op: Table) -> None:
    """``Gather`` from the table."""
    table = g.constant((op.table.astype(np.int16) - OFFSET).astype(np.int8))
    g.node("Gather", [table, g.int32(op.x)], op.out, axis=0)
