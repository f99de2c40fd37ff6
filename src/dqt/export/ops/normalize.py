"""Normalization by a root mean square."""

from __future__ import annotations

import numpy as np

from dqt.arith.roots import ENERGY_BITS, FIRST_BITS, SUM_BITS, UNIT_BITS, added_energy, root_table
from dqt.export.graph import Graph
from dqt.export.rounding import Terms, rounded
from dqt.program.ops.normalize import Normalize

OPERATOR = Normalize
MOST_BITS = 33
"""Of the largest magnitude of a row, a difference of two int32."""


def add(g: Graph, op: Normalize) -> None:
    """The definition in int64 (numerics.md, equations 22 to 24 and 8)."""
    x, count = g.value(op.x), op.count(g.value(op.x))
    rows = g.constant([0, *x.shape[: op.axis], op.groups, count], np.int64)
    v = g.minus(g.node("Reshape", [g.cast(op.x, "INT64"), rows]), x.zero)
    k = _row_shift(g, v, count)
    halves = g.constant([0, *(1 << i for i in range(MOST_BITS))], np.int64)
    v = g.right(g.node("Add", [v, g.node("Gather", [halves, k])]), k, signed=True)
    squares = g.times(_sum(g, g.node("Mul", [v, v])), count)
    deviation = g.times(v, count)
    if op.center:
        total = _sum(g, v)
        squares = g.node("Sub", [squares, g.node("Mul", [total, total])])
        deviation = g.node("Sub", [deviation, total])
    added = g.right(g.constant(np.int64(added_energy(count, op.epsilon, op.fraction))), g.times(k, 2))
    energy = g.node("Max", [g.node("Add", [squares, added]), g.constant(np.int64(1))])
    u = g.node("Reshape", [_normalized(g, deviation, energy), g.constant([0, *x.shape], np.int64)])
    reach = op.reach(count) * int(np.abs(op.m.astype(np.int64)).max()) + int(np.abs(op.c).max())
    rounded(g, Terms([(u, op.m)], op.c, op.shift, reach), op.lo, op.hi, op.out)


def _sum(g: Graph, x: str) -> str:
    return g.node("ReduceSum", [x, g.constant([-1], np.int64)], keepdims=1)


def _row_shift(g: Graph, v: str, count: int) -> str:
    """Equation 22: the bits of the largest magnitude and of the number of values, less those that a sum may have."""
    most = g.node("ReduceMax", [g.node("Abs", [v]), g.constant([-1], np.int64)], keepdims=1)
    reached = g.node("Greater", [most, g.constant([(1 << i) - 1 for i in range(MOST_BITS)], np.int64)])
    bits = g.minus(_sum(g, g.cast(reached, "INT64")), SUM_BITS - count.bit_length())
    return g.node("Max", [bits, g.constant(np.int64(0))])


def _normalized(g: Graph, deviation: str, energy: str) -> str:
    """Equations 23 and 24."""
    below = g.node("Less", [energy, g.constant([1 << (ENERGY_BITS - 2 * i) for i in range(1, 31)], np.int64)])
    doublings = _sum(g, g.cast(below, "INT64"))
    powers = g.constant([1 << (2 * i) for i in range(31)], np.int64)
    w = g.right(g.node("Mul", [energy, g.node("Gather", [powers, doublings])]), 30)
    r = g.node("Gather", [g.constant(root_table()), g.right(w, FIRST_BITS)])
    r = _newton(g, r, g.right(g.node("Mul", [g.node("Mul", [r, r]), w]), 31), 18)
    r = _newton(g, r, g.right(g.node("Mul", [g.right(g.node("Mul", [r, r]), 28), w]), 31), 32)
    shift = g.node("Sub", [g.constant(np.int64(2 * UNIT_BITS)), doublings])
    halves = g.constant([1 << (2 * UNIT_BITS - 1 - j) for j in range(31)], np.int64)
    product = g.node("Add", [g.node("Mul", [deviation, r]), g.node("Gather", [halves, doublings])])
    return g.right(product, shift, signed=True)


def _newton(g: Graph, r: str, square: str, shift: int) -> str:
    """``(r * (3 * 2^31 - square)) >> shift``."""
    rest = g.node("Sub", [g.constant(np.int64(3 << 31)), square])
    return g.right(g.node("Mul", [r, rest]), shift)
