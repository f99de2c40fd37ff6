"""Matrix product of two activations."""

from __future__ import annotations

from dqt.arith.plan import Pair
from dqt.export.elementwise import ranked
from dqt.export.graph import Graph
from dqt.export.layer import at_widths, narrow_input
from dqt.export.products import MATMUL, product
from dqt.export.rounding import Terms, rounded
from dqt.program.ops.mat_mul import MatMul

OPERATOR = MatMul


def add(g: Graph, op: MatMul) -> None:
    """``MatMulInteger`` of both operands, narrowed, at one width or at those that samples choose."""
    at_widths(g, op.layer, op.out, lambda pair, out: _at(g, op, pair, out))


def _at(g: Graph, op: MatMul, pair: Pair, out: str) -> None:
    a, b = (ranked(g, name, op.out, narrow_input(g, name, bits)) for name, bits in zip((op.a, op.b), pair, strict=True))
    zeros = (g.value(op.a).zero, g.value(op.b).zero)
    acc = product(g, MATMUL, (a, b), zeros, op.counts(g.values).macs)
    top = op.bound(g.values).magnitude * abs(op.m) + abs(op.c)
    rounded(g, Terms([(acc, op.m)], op.c, op.shift, top), op.lo, op.hi, out)
