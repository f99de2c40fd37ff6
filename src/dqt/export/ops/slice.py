"""A part of a value."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.slice import Slice

OPERATOR = Slice


def add(g: Graph, op: Slice) -> None:
    """ONNX counts from the end, and past the end, as Python does."""
    parts = (op.starts, op.stops, range(1, 1 + len(op.starts)), op.steps)
    g.node("Slice", [op.x, *(g.constant(list(part), np.int64) for part in parts)], op.out)
