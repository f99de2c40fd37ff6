"""Constants one after the other, as in ``(x - mean) / std``, are one multiply-add."""

from __future__ import annotations

from dqt.nn.graph import Graph


def fold_scales(graph: Graph) -> Graph:
    """A multiply-add by constants takes over the one before it that it alone reads, where the model trains neither."""
    for second in [node for node in graph.nodes if node.norm in graph.scales]:
        first = graph.producer(second.ins[0])
        if first is None or first.kind != "affine" or first.norm not in graph.scales:
            continue
        specs = graph.scales[first.norm], graph.scales[second.norm]
        if graph.readers(first.out) == [second] and not any(spec.trained for spec in specs):
            graph = graph.merged(first, second, into=second).with_scale(second.norm, specs[1].after(specs[0]))
    return graph
