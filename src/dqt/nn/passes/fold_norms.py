"""A batch norm after a layer is a part of the layer's requantization."""

from __future__ import annotations

from dqt.nn.graph import Graph, Step


def fold_norms(graph: Graph) -> Graph:
    """A layer takes over the batch norm that alone reads its result."""
    for norm in [step for step in graph.steps if step.kind == "affine"]:
        layer = graph.producer(norm.ins[0])
        if layer is not None and _takes_norm(layer) and graph.readers(layer.out) == [norm]:
            graph = graph.merged(layer, norm, into=layer, norm=norm.norm)
    return graph


def _takes_norm(step: Step) -> bool:
    """Batch norm works on dimension 1, and a linear layer's channels are last."""
    return bool(step.layer) and not step.norm and (step.kind == "conv" or len(step.shape) == 1)
