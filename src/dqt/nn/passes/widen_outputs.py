"""The sums of a last layer stay int32 until they become floats: no 8 bits between."""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import Graph, Node
from dqt.nn.operator import operators


def widen_outputs(graph: Graph) -> Graph:
    """The layers that give the outputs keep their int32 results, through nodes that only move values."""
    for output in dict.fromkeys(graph.outputs):
        graph = _widened(graph, output)
    return graph


def _widened(graph: Graph, value: str) -> Graph:
    while (node := graph.producer(value)) is not None and _ends(graph, node):
        if node.layer and node.edge == "signed":
            return graph.with_node(node, replace(node, edge="wide"))
        if not operators()[node.kind].moves:
            break
        value = node.ins[0]
    return graph


def _ends(graph: Graph, node: Node) -> bool:
    """Whether one reader alone takes the result, or outputs: another reader wants codes."""
    readers = graph.readers(node.out)
    return len(readers) == 1 or all(reader is None for reader in readers)
