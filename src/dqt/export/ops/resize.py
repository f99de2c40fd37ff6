"""Images in another size."""

from __future__ import annotations

from dqt.arith.resize import WEIGHT_BITS
from dqt.export.graph import Graph
from dqt.export.matrices import resizing
from dqt.export.rounding import Terms, rounded
from dqt.program.ops.resize import Resize

OPERATOR = Resize


def add(g: Graph, op: Resize) -> None:
    """Two products with matrices of integer weights, whose rows add up to 2^11, and one rounding."""
    x, out = g.value(op.x), g.value(op.out)
    acc = g.cast(op.x, "INT64")
    acc = g.node("MatMul", [acc, g.constant(resizing(op, 1, x.shape[2], out.shape[2]).T)])
    acc = g.node("MatMul", [g.constant(resizing(op, 0, x.shape[1], out.shape[1])), acc])
    shift = 2 * WEIGHT_BITS
    half = 1 << (shift - 1)
    rounded(g, Terms([(acc, 1)], half, shift, (x.reach << shift) + half), x.lo, x.hi, op.out)
