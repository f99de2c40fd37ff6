"""Matrix product."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.export.layer import add_layer
from dqt.program.ops.linear import Linear

OPERATOR = Linear


def add(g: Graph, op: Linear) -> None:
    """``MatMulInteger`` with the weight transposed."""

    def product(x: str, weight: str, zero: str, middle: str) -> str:
        return g.node("MatMulInteger", [x, g.node("Transpose", [weight], perm=[1, 0]), zero, middle])

    add_layer(g, op, product, (-1,))
