"""Matrix product."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.export.layer import add_layer
from dqt.export.products import MATMUL, product
from dqt.program.ops.linear import Linear

OPERATOR = Linear


def add(g: Graph, op: Linear) -> None:
    """``MatMulInteger`` with the weight transposed."""
    macs = op.counts(g.values).macs

    def multiplied(ins: tuple[str, str], zeros: tuple[int, int]) -> str:
        x, weight = ins
        return product(g, MATMUL, (x, g.node("Transpose", [weight], perm=[1, 0])), zeros, macs)

    add_layer(g, op, multiplied, (-1,))
