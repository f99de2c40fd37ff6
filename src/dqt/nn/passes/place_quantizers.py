"""Which values become unsigned codes: those that are never negative gain a bit of resolution."""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import Graph, Node
from dqt.nn.operator import operators

POSITIVE = {"relu", "unsigned", "unit"}


def place_quantizers(graph: Graph, *, input_signed: bool) -> Graph:
    """Sums, products, averages and joins of values that are never negative are never negative.

    Args:
        input_signed: whether the network's inputs have negative values.
    """
    states = set(graph.states)  # they begin as 0, so they stay positive if what becomes of positive ones is
    while True:
        placed, found = _placed(graph, states if input_signed else states | set(graph.inputs) - set(graph.states))
        positive = {name for name in states if graph.outputs[graph.states[name]] in found}
        if positive == states:
            return placed
        states = positive


def _placed(graph: Graph, inputs: set[str]) -> tuple[Graph, set[str]]:
    """The graph, and all values that are never negative where ``inputs`` are not."""
    nodes, positive = list[Node](), set(inputs)
    for node in graph.nodes:
        inherits = operators()[node.kind].keeps_sign or node.quantizer == "same"
        inherited = inherits and positive.issuperset(node.ins)
        if inherited or node.quantizer in POSITIVE or node.clamps:
            positive.add(node.out)
        nodes.append(replace(node, quantizer="unsigned") if inherited and node.quantizer == "signed" else node)
    return replace(graph, nodes=tuple(nodes)), positive
