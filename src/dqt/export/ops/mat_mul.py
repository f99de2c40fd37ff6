"""Matrix product of two activations."""

from __future__ import annotations

import numpy as np

from dqt.arith.plan import Pair
from dqt.export.elementwise import ranked
from dqt.export.graph import Graph
from dqt.export.layer import narrow_input, select
from dqt.program.ops.mat_mul import MatMul

OPERATOR = MatMul


def add(g: Graph, op: MatMul) -> None:
    """``MatMulInteger`` of both operands, narrowed, at one width or at those that samples choose."""
    if op.layer not in g.chosen:
        _at(g, op, g.pairs[op.layer], op.out)
        return
    outs = []
    for b in g.program.space.choices:
        out = g.name(f"{op.out}.{b}")
        g.values[out] = g.values[op.out]
        _at(g, op, (b, b), out)
        outs.append((b, out))
    select(g, op.layer, outs, op.out, rank=1 + len(g.values[op.out].shape))


def _at(g: Graph, op: MatMul, pair: Pair, out: str) -> None:
    ins = [ranked(g, name, op.out, narrow_input(g, name, b)) for name, b in zip((op.a, op.b), pair, strict=True)]
    zeros = [g.constant(np.uint8(g.value(name).zero)) for name in (op.a, op.b)]
    acc = g.node("MatMulInteger", [*ins, *zeros])
    top = op.bound(g.values).magnitude * abs(op.m) + abs(op.c)
    g.rounded(g.scaled([(acc, op.m)], op.c, op.shift, top), op.lo, op.hi, out)
