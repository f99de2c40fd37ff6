"""Activations come before the moves that they follow: next to the layer whose clamp they may be."""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import Graph, Node
from dqt.nn.passes.merge_moves import MOVES

ELEMENTWISE = ("relu", "table")


def sink_moves(graph: Graph) -> Graph:
    """A function of single elements, which alone reads a transposed or reshaped value, is computed before the move."""
    for found in [node for node in graph.nodes if node.kind in ELEMENTWISE]:
        activation = found
        while (move := graph.producer(activation.ins[0])) is not None and move.kind in MOVES:
            source = graph.producer(move.ins[0])
            if source is None or graph.readers(move.out) != [activation]:
                break
            graph, activation = _swapped(graph, source, move, activation)
    return graph


def _swapped(graph: Graph, source: Node, move: Node, activation: Node) -> tuple[Graph, Node]:
    """``move(source)``, ``activation(move)`` -> ``activation(source)``, ``move(activation)``."""
    earlier = replace(activation, ins=move.ins, shape=source.shape)
    graph = graph.without(activation, move.out)
    i = graph.nodes.index(move)
    nodes = (*graph.nodes[:i], earlier, replace(move, ins=(activation.out,)), *graph.nodes[i + 1 :])
    return replace(graph, nodes=nodes), earlier
