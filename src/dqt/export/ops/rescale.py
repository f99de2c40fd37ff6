"""Multiply-add by channel."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.rescale import Rescale

OPERATOR = Rescale


def add(g: Graph, op: Rescale) -> None:
    """``clamp((m*q + c) >> shift, lo, hi)``."""
    x = g.value(op.x)
    shape = (-1, *(1,) * (len(x.shape) - 1))
    m = op.m.astype(np.int64)
    c = op.c + m * g.offset(op.x)
    far = x.reach + g.offset(op.x)
    reach = max(abs(int(k)) * far + abs(int(b)) for k, b in zip(m, c, strict=True))
    g.rounded(g.scaled([(op.x, m.reshape(shape))], c.reshape(shape), op.shift, reach), op.lo, op.hi, op.out)
