"""Average pooling."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.export.matrices import ones
from dqt.export.rounding import Terms, rounded
from dqt.program.ops.avg_pool import AvgPool

OPERATOR = AvgPool


def add(g: Graph, op: AvgPool) -> None:
    """Window sums as two products with matrices of ones, or one sum of all; then the requantization."""
    x = g.value(op.x)
    _, height, width = x.shape
    acc = g.int32(op.x, less=x.zero)
    if [op.rows.tolist(), op.columns.tolist()] == [[[0, height]], [[0, width]]]:
        acc = g.node("ReduceSum", [acc, g.constant([2, 3], np.int64)], keepdims=1)
    else:
        acc = g.node("MatMul", [acc, g.constant(ones(op.columns, width).T)])
        acc = g.node("MatMul", [g.constant(ones(op.rows, height)), acc])
    area = int(np.ptp(op.rows, axis=1).max()) * int(np.ptp(op.columns, axis=1).max())
    far = area * max(abs(x.lo - x.zero), abs(x.hi - x.zero))
    m, c = op.m.astype(np.int64), op.c
    reach = far * int(np.abs(m).max()) + max(abs(int(each)) for each in c.flat)
    rounded(g, Terms([(acc, m)], c, op.shift, reach), op.lo, op.hi, op.out)
