"""Zeros around a value."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.pad import Pad

OPERATOR = Pad


def add(g: Graph, op: Pad) -> None:
    """The code of the real 0."""
    value = g.value(op.x)
    pads = g.constant([0, *op.before, 0, *op.after], np.int64)
    zero = g.constant(value.zero, np.uint8 if value.coded else np.int32)
    g.node("Pad", [op.x, pads, zero], op.out)
