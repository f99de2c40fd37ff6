"""The sums that end in an output stay int32 until they become floats: no 8 bits between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dqt.nn.graph import Graph, Node
from dqt.nn.operator import operators


def widen_outputs(graph: Graph) -> Graph:
    """The sums that give the outputs keep their int32 results, through nodes that only move values.

    Who else reads such a result gets codes of it, by a node of their own. The operands of a sum that may read int32
    stay int32 as well, where nobody else reads them.
    """
    ends = _ends(graph)
    for value in ends:
        graph = tapped(graph, value, lambda reader: _takes(reader, ends))
    whole = _with_operands(graph, ends)
    nodes = [widened(node) if node.out in whole and node.quantizer != "same" else node for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def _ends(graph: Graph) -> set[str]:
    """The values that outputs show: the results of sums, and of the nodes that move them from there to the output.

    What becomes a state is none: it must be codes.
    """
    found: set[str] = set()
    for output in graph.shown:
        path, node = [], graph.producer(output)
        while node is not None and operators()[node.kind].moves:
            path.append(node.out)
            node = graph.producer(node.ins[0])
        if node is not None and sums(node):
            found.update((*path, node.out))
    return found


def sums(node: Node) -> bool:
    """Whether the result of a node may stay int32."""
    return (bool(node.layer) or operators()[node.kind].int32_result) and node.quantizer != "same"


def tapped(graph: Graph, value: str, takes: Callable[[Node], bool]) -> Graph:
    """Codes of an int32 ``value`` for those of its readers that do not take it as it is, and for states."""
    others = {node.out for node in graph.nodes if value in node.ins and not takes(node)}
    if not others and value not in graph.kept:
        return graph
    name, source = f"{value}.codes", next(node for node in graph.nodes if node.out == value)
    while any(each.out == name for each in graph.nodes):
        name += "_"
    codes = Node("requantize", name, (value,), source.shape)
    if source.quantizer == "relu":
        codes = replace(codes, quantizer="relu", cap=source.cap)
    return graph.with_reader(codes, others)


def _with_operands(graph: Graph, ends: set[str]) -> set[str]:
    """``ends``, and what only sums among them read."""
    whole = set(ends)
    for node in reversed(graph.nodes):
        if node.out in whole and (operators()[node.kind].int32_operands or operators()[node.kind].moves):
            whole.update(name for name in node.ins if _only_for(graph, name, whole))
    return whole


def _only_for(graph: Graph, value: str, whole: set[str]) -> bool:
    """Whether ``value`` is a sum, or moves one, that nobody reads who needs codes."""
    node, readers = graph.producer(value), graph.readers(value)
    if node is None or not all(reader is not None and _takes(reader, whole) for reader in readers):
        return False
    return sums(node) or (operators()[node.kind].moves and _only_for(graph, node.ins[0], whole | {value}))


def _takes(reader: Node, whole: set[str]) -> bool:
    kind = operators()[reader.kind]
    return reader.out in whole and (kind.int32_operands or kind.moves)


def widened(node: Node) -> Node:
    """``node`` with an int32 result; the clamp of a ReLU stays."""
    return replace(node, quantizer="int32", floor=0.0) if node.quantizer == "relu" else replace(node, quantizer="int32")
