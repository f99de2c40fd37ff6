"""A batch norm after a layer is a part of the layer's requantization."""

from __future__ import annotations

from dqt.nn.graph import Graph, Node


def fold_norms(graph: Graph) -> Graph:
    """A layer takes over the batch norm that alone reads its result."""
    for norm in [node for node in graph.nodes if node.kind == "affine"]:
        layer = graph.producer(norm.ins[0])
        if layer is not None and _takes_norm(layer) and graph.readers(layer.out) == [norm]:
            graph = graph.merged(layer, norm, into=layer, norm=norm.norm)
    return graph


def _takes_norm(node: Node) -> bool:
    """Batch norm works on dimension 1, and a linear layer's channels are last."""
    return bool(node.layer) and not node.norm and (node.kind != "linear" or len(node.shape) == 1)
