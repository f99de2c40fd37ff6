"""Softmax over the last dimension."""

from __future__ import annotations

import numpy as np

from dqt.arith.powers import FACTOR_BITS, FRACTION_BITS, POWER_BITS, power_table, row_bits
from dqt.export.graph import Graph
from dqt.program.ops.softmax import Softmax, levels_of

OPERATOR = Softmax


def add(g: Graph, op: Softmax) -> None:
    """The definition in int64 (numerics.md, equations 25 to 29)."""
    out, count = g.value(op.out), g.value(op.x).shape[-1]
    q, last = g.cast(op.x, "INT64"), g.constant([-1], np.int64)
    below = g.node("Sub", [g.node("ReduceMax", [q, last], keepdims=1), q])
    t = g.halves_up(g.times(below, op.m), op.shift)
    power = _powers(g, t, count)
    bits = row_bits(count) + FACTOR_BITS
    levels = levels_of(out)
    one = g.constant(np.int64(levels << bits))
    factor = g.node("Div", [one, g.node("ReduceSum", [power, last], keepdims=1)])
    y = g.halves_up(g.node("Mul", [power, factor]), bits)
    if levels > out.hi:
        y = g.node("Min", [y, g.constant(np.int64(out.hi))])
    g.node("Cast", [y], op.out, to=getattr(g.onnx.TensorProto, "UINT8" if out.coded else "INT32"))


def _powers(g: Graph, t: str, count: int) -> str:
    """Equation 27: from a table of fractions, shifted right and rounded half up."""
    whole = g.right(t, FRACTION_BITS)
    fraction = g.node("Sub", [t, g.times(whole, 1 << FRACTION_BITS)])
    start, most = POWER_BITS - row_bits(count), POWER_BITS + 2
    bounds = [g.constant(np.int64(0)), g.constant(np.int64(most))]
    right = g.node("Clip", [g.node("Add", [whole, g.constant(np.int64(start))]), *bounds])
    halves = g.constant([(1 << i) >> 1 for i in range(most + 1)], np.int64)
    power = g.node("Gather", [g.constant(power_table()), fraction])
    return g.right(g.node("Add", [power, g.node("Gather", [halves, right])]), right)
