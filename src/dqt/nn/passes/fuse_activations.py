"""A ReLU is the clamp of what comes before it."""

from __future__ import annotations

from dqt.nn.graph import Graph
from dqt.nn.operator import operators


def fuse_activations(graph: Graph) -> Graph:
    """A node whose result gets codes of its own clamps them as the ReLU does that alone reads it."""
    for relu in [node for node in graph.nodes if node.kind == "relu"]:
        before = graph.producer(relu.ins[0])
        if before is None or not operators()[before.kind].own_quantizer or before.quantizer != "signed":
            continue
        if graph.readers(before.out) == [relu]:
            graph = graph.merged(before, relu, into=before, quantizer="relu", cap=relu.cap)
    return graph
