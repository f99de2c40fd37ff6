"""Which values become unsigned codes: those that are never negative gain a bit of resolution."""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import Graph, Node
from dqt.nn.operator import operators

POSITIVE = {"relu", "unsigned"}


def place_quantizers(graph: Graph, *, input_signed: bool) -> Graph:
    """Sums, products, averages and joins of values that are never negative are never negative.

    Args:
        input_signed: whether the network's inputs have negative values.
    """
    positive = set() if input_signed else set(graph.inputs)
    nodes: list[Node] = []
    for node in graph.nodes:
        inherits = operators()[node.kind].keeps_sign or node.edge == "same"
        inherited = inherits and positive.issuperset(node.ins)
        if inherited or node.edge in POSITIVE or node.clamps:
            positive.add(node.out)
        nodes.append(replace(node, edge="unsigned") if inherited and node.edge == "signed" else node)
    return replace(graph, nodes=tuple(nodes))
