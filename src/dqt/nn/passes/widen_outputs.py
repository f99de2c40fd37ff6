"""The sums of a last layer stay int32 until they become floats: no 8 bits between."""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import Graph
from dqt.nn.operator import operators


def widen_outputs(graph: Graph) -> Graph:
    """The layer that gives the output keeps its int32 results, through nodes that only move values."""
    value = graph.output
    while len(graph.readers(value)) == 1 and (node := graph.producer(value)) is not None:  # another reader wants codes
        if node.kind in ("conv", "linear") and node.edge == "signed":
            return graph.with_node(node, replace(node, edge="wide"))
        if not operators()[node.kind].moves:
            break
        value = node.ins[0]
    return graph
