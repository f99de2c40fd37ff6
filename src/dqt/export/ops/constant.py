"""A tensor that is the same for every sample."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.constant import Constant

OPERATOR = Constant


def add(g: Graph, op: Constant) -> None:
    """The integers, once for each sample of the first input."""
    data = op.data[tuple(slice(d) for d in g.value(op.out).shape)][None]
    held = g.constant(data.astype(np.uint8) if g.value(op.out).coded else data)
    count = g.node("Shape", [g.program.inputs[0].name], start=0, end=1)
    ones = g.constant([1] * (data.ndim - 1), np.int64)
    g.node("Expand", [held, g.node("Concat", [count, ones], axis=0)], op.out)
