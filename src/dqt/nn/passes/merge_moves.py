"""Reorderings and reshapes one after the other are one, or none."""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import Graph, Node
from dqt.nn.passes.drop_unused import drop_unused

MOVES = ("transpose", "reshape")


def merge_moves(graph: Graph) -> Graph:
    """A transposition reads what the transposition before it reads, and so with reshapes; both go where they undo."""
    for node in [node for node in graph.nodes if node.kind in MOVES]:
        now = graph.producer(node.out)
        first = graph.producer(now.ins[0]) if now is not None else None
        if now is not None and first is not None and first.kind == now.kind:
            graph = _merged(graph, first, now)
    return drop_unused(graph)


def _merged(graph: Graph, first: Node, second: Node) -> Graph:
    source = graph.producer(first.ins[0])
    if second.kind == "reshape":
        nothing = source is not None and source.shape == second.shape
        both = replace(second, ins=first.ins)
    else:
        axes = tuple(first.attrs["axes"][axis] for axis in second.attrs["axes"])
        nothing = axes == tuple(sorted(axes))
        both = replace(second, ins=first.ins, attrs={"axes": axes})
    return graph.without(second, first.ins[0]) if nothing else graph.with_node(second, both)
