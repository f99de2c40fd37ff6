"""Sums and means along some axes."""

from __future__ import annotations

import math

import numpy as np

from dqt.export.graph import Graph
from dqt.export.rounding import Terms, rounded
from dqt.program.ops.mean import Mean

OPERATOR = Mean


def add(g: Graph, op: Mean) -> None:
    """A sum in int64, times the multiplier of as many elements, requantized."""
    x = g.value(op.x)
    area, k = math.prod(x.shape[axis] for axis in op.axes), op.multiplier(x.shape)
    wide = g.cast(op.x, "INT64")
    acc = g.node("ReduceSum", [wide, g.constant([axis + 1 for axis in op.axes], np.int64)], keepdims=1)
    offset = op.c - k * area * x.zero
    reach = abs(k) * area * x.reach + abs(offset)
    rounded(g, Terms([(acc, k)], offset, op.shift, reach), op.lo, op.hi, op.out)
