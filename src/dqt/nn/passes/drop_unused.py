"""Nodes whose results nobody needs."""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import Graph, needed_for


def drop_unused(graph: Graph) -> Graph:
    """Without the nodes that do not lead to an output."""
    needed = needed_for(graph.nodes, graph.outputs)
    return replace(graph, nodes=tuple(node for node in graph.nodes if node.out in needed))
