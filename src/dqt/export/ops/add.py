"""Addition."""

from __future__ import annotations

from dqt.export.elementwise import ranked
from dqt.export.graph import Graph
from dqt.program.ops.add import Add

OPERATOR = Add


def add(g: Graph, op: Add) -> None:
    """``clamp((k1*a + k2*b + k3) >> shift, lo, hi)``."""
    parts = [(ranked(g, op.a, op.out), op.k1), (ranked(g, op.b, op.out), op.k2)]
    reach = abs(op.k1) * g.value(op.a).reach + abs(op.k2) * g.value(op.b).reach + abs(op.k3)
    g.rounded(g.scaled(parts, op.k3, op.shift, reach), op.lo, op.hi, op.out)
