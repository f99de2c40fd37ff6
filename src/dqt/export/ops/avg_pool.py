"""Average pooling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dqt.export.graph import Graph
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
        acc = g.node("MatMul", [acc, g.constant(_ones(op.columns, width).T)])
        acc = g.node("MatMul", [g.constant(_ones(op.rows, height)), acc])
    area = int(np.ptp(op.rows, axis=1).max()) * int(np.ptp(op.columns, axis=1).max())
    far = area * max(abs(x.lo - x.zero), abs(x.hi - x.zero))
    m, c = op.m.astype(np.int64), op.c
    reach = far * int(np.abs(m).max()) + max(abs(int(each)) for each in c.flat)
    g.rounded(g.scaled([(acc, m)], c, op.shift, reach), op.lo, op.hi, op.out)


def _ones(ranges: npt.NDArray[np.int32], length: int) -> npt.NDArray[np.int32]:
    """1 where an output's window has an input: int32 ``[outputs, length]``."""
    index = np.arange(length)
    return ((index >= ranges[:, :1]) & (index < ranges[:, 1:])).astype(np.int32)
