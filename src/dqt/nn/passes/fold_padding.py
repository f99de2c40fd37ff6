"""Zeros around an image are a convolution's own padding."""

from __future__ import annotations

from dqt.nn.graph import Graph, Node


def fold_padding(graph: Graph) -> Graph:
    """A convolution takes over the zeros around its input, where it alone reads them."""
    for conv in [node for node in graph.nodes if node.kind == "conv"]:
        pad = graph.producer(conv.ins[0])
        if pad is not None and pad.kind == "pad" and _spatial_only(pad) and graph.readers(pad.out) == [conv]:
            graph = graph.merged(pad, conv, into=conv, attrs={**conv.attrs, "padding": _sum(conv, pad)})
    return graph


def _spatial_only(pad: Node) -> bool:
    return pad.attrs["before"][0] == 0 and pad.attrs["after"][0] == 0


def _sum(conv: Node, pad: Node) -> tuple[int, ...]:
    """Before and after along each axis of space, of both."""
    pads = zip(pad.attrs["before"][1:], pad.attrs["after"][1:], strict=True)
    added = (amount for pair in pads for amount in pair)
    return tuple(p + q for p, q in zip(conv.attrs["padding"], added, strict=True))
