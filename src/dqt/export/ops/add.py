"""Addition."""

from __future__ import annotations

from dqt.export.elementwise import ranked
from dqt.export.graph import Graph
from dqt.program.ops.add import Add

OPERATOR = Add


def add(g: Graph, op: Add) -> None:
    """``clamp((k1*a + k2*b + k3) >> shift, lo, hi)``."""
    parts = [(ranked(g, op.a, op.out), op.k1), (ranked(g, op.b, op.out), op.k2)]
    offset = op.k1 * g.offset(op.a) + op.k2 * g.offset(op.b) + op.k3
    reach = sum(abs(k) * (g.value(name).reach + g.offset(name)) for name, k in ((op.a, op.k1), (op.b, op.k2)))
    g.rounded(g.scaled(parts, offset, op.shift, reach + abs(op.k3) + abs(offset)), op.lo, op.hi, op.out)
