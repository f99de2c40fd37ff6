"""Product, element by element."""

from __future__ import annotations

from dqt.export.elementwise import ranked
from dqt.export.graph import Graph
from dqt.export.rounding import Terms, rounded
from dqt.program.ops.multiply import Multiply

OPERATOR = Multiply


def add(g: Graph, op: Multiply) -> None:
    """``clamp((k1*a*b + k2*a + k3*b + k4) >> shift, lo, hi)``, with ``a*b`` in int32 where it fits."""
    a, b = (g.cast(ranked(g, name, op.out), "INT64") for name in (op.a, op.b))
    ra, rb = g.value(op.a).reach, g.value(op.b).reach
    reach = abs(op.k1) * ra * rb + abs(op.k2) * ra + abs(op.k3) * rb + abs(op.k4)
    parts = [(g.node("Mul", [a, b]), op.k1), (a, op.k2), (b, op.k3)]
    rounded(g, Terms(parts, op.k4, op.shift, reach), op.lo, op.hi, op.out)
