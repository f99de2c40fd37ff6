"""Addition."""

from __future__ import annotations

from dqt.export.elementwise import ranked
from dqt.export.graph import Graph
from dqt.export.rounding import Terms, rounded, saturated
from dqt.export.single import Single, single
from dqt.program.ops.add import Add

OPERATOR = Add


def add(g: Graph, op: Add) -> None:
    """``clamp((k1*a + k2*b + k3) >> shift, lo, hi)``; in float32 where all pairs of codes prove that exact."""
    a, b, out = (g.value(name) for name in (op.a, op.b, op.out))
    x, y = ranked(g, op.a, op.out), ranked(g, op.b, op.out)
    found = single(op, a, b) if a.coded and b.coded and out.coded else None
    if found:
        saturated(g, _sum(g, x, y, found), op.lo, op.hi, op.out, found.scale)
        return
    reach = abs(op.k1) * a.reach + abs(op.k2) * b.reach + abs(op.k3)
    rounded(g, Terms([(x, op.k1), (y, op.k2)], op.k3, op.shift, reach), op.lo, op.hi, op.out)


def _sum(g: Graph, x: str, y: str, numbers: Single) -> str:
    """In the order of :class:`Single`."""
    a = g.node("Mul", [g.cast(x, "FLOAT"), g.constant(numbers.k)])
    return g.node("Add", [g.node("Add", [a, g.constant(numbers.c)]), g.cast(y, "FLOAT")])
