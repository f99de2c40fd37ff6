"""Multiply-add by channel."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.export.rounding import Terms, rounded
from dqt.program.ops.rescale import Rescale

OPERATOR = Rescale


def add(g: Graph, op: Rescale) -> None:
    """``clamp((m*q + c) >> shift, lo, hi)``."""
    x = g.value(op.x)
    shape = (-1, *(1,) * (len(x.shape) - 1))
    m = op.m.astype(np.int64)
    reach = max(abs(int(k)) * x.reach + abs(int(b)) for k, b in zip(m, op.c, strict=True))
    rounded(g, Terms([(op.x, m.reshape(shape))], op.c.reshape(shape), op.shift, reach), op.lo, op.hi, op.out)
