"""What norms and softmax read stays int32: a residual stream, and the scores of attention.

A few channels of a transformer's stream are far larger than the others, which 8 bits of one scale would lose; and a
softmax tells small differences of large scores.
"""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import Graph, Node
from dqt.nn.operator import operators
from dqt.nn.passes.widen_outputs import sums, tapped, widened


def widen_streams(graph: Graph) -> Graph:
    """Sums that a norm or a softmax reads, and the sums that those are made of, keep their int32 results.

    Who else reads such a sum gets codes of it, by a node of its own.
    """
    whole = _stream(graph)
    for value in sorted(whole):
        graph = tapped(graph, value, takes)
    nodes = [widened(node) if node.out in whole and node.quantizer != "same" else node for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def _stream(graph: Graph) -> set[str]:
    """The sums, and what moves them."""
    nodes = {node.out: node for node in graph.nodes}
    found: set[str] = set()
    ahead = [name for node in graph.nodes if operators()[node.kind].streams for name in node.ins]
    while ahead:
        name = ahead.pop()
        node = nodes.get(name)
        if node is None or name in found:
            continue
        if operators()[node.kind].moves:
            ahead.append(node.ins[0])
        elif sums(node):
            found.add(name)
            ahead += node.ins if operators()[node.kind].int32_operands else ()
    for node in graph.nodes:
        if operators()[node.kind].moves and node.ins[0] in found:
            found.add(node.out)
    return found


def takes(reader: Node) -> bool:
    """Whether a node reads int32 as it is."""
    kind = operators()[reader.kind]
    return kind.int32_operands or kind.moves
