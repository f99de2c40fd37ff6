"""Rows of a table, by index."""

from __future__ import annotations

import numpy as np

from dqt.arith.fixed import requantize
from dqt.export.graph import Graph
from dqt.program.ops.embedding import Embedding

OPERATOR = Embedding


def add(g: Graph, op: Embedding) -> None:
    """``Gather`` from the table of results: what a row becomes depends on its index alone."""
    m, c = (np.asarray(each, dtype=np.int64)[:, None] for each in (op.m, op.c))
    rows = requantize(op.table.astype(np.int64), m, c, op.shift, op.lo, op.hi)
    table = g.constant(rows, np.uint8 if g.value(op.out).coded else np.int32)
    g.node("Gather", [table, g.int32(op.x)], op.out, axis=0)
