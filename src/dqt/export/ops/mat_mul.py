"""Matrix product of two activations."""

from __future__ import annotations

import numpy as np

from dqt.arith.plan import Pair
from dqt.export.elementwise import ranked
from dqt.export.graph import Graph
from dqt.export.layer import at_widths, narrow_input
from dqt.program.ops.mat_mul import MatMul

OPERATOR = MatMul


def add(g: Graph, op: MatMul) -> None:
    """``MatMulInteger`` of both operands, narrowed, at one width or at those that samples choose."""
    at_widths(g, op.layer, op.out, lambda pair, out: _at(g, op, pair, out))


def _at(g: Graph, op: MatMul, pair: Pair, out: str) -> None:
    ins = [ranked(g, name, op.out, narrow_input(g, name, b)) for name, b in zip((op.a, op.b), pair, strict=True)]
    zeros = [g.constant(np.uint8(g.value(name).zero)) for name in (op.a, op.b)]
    acc = g.node("MatMulInteger", [*ins, *zeros])
    top = op.bound(g.values).magnitude * abs(op.m) + abs(op.c)
    g.rounded(g.scaled([(acc, op.m)], op.c, op.shift, top), op.lo, op.hi, out)
