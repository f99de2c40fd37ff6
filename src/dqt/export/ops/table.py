"""Elementwise nonlinearity."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.table import Table

OPERATOR = Table


def add(g: Graph, op: Table) -> None:
    """``Gather`` from the table, or from those of all channels, one after the other."""
    index = g.int32(op.x)
    if op.table.ndim == 2:
        channels, entries = op.table.shape
        shape = (channels, *(1,) * (len(g.value(op.x).shape) - 1))
        first = np.arange(channels, dtype=np.int32).reshape(shape) * np.int32(entries)
        index = g.node("Add", [index, g.constant(first)])
    g.node("Gather", [g.constant(op.table.reshape(-1)), index], op.out, axis=0)
