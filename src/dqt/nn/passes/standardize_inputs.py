"""A batch norm, or constants, that a float input meets first is a part of its quantizer, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dqt.nn.graph import Graph, Node
from dqt.nn.passes.merge_moves import MOVES, merge_moves

Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Place:
    """Where a multiply-add stands.

    Attributes:
        source: the input, or the multiply-add before it.   shape: of that.   axis: where its channels lie there.
        first: the move that reads ``source``, if there is one; others follow it up to the multiply-add.
    """

    source: str
    shape: Shape
    axis: int
    first: Node | None = None


def standardize_inputs(graph: Graph, *, input_signed: bool) -> Graph:
    """What multiplies a float input and adds to it is computed before it becomes codes, and before it is moved.

    Who else reads the input gets codes of the input itself, as before. A state holds codes, and stays as it is.

    Args:
        input_signed: whether the network's inputs have negative values.
    """
    for found in [node for node in graph.nodes if node.kind == "affine"]:
        norm = graph.producer(found.out) or found  # as the changes before this one left it
        place = _place(graph, norm)
        if place is not None:
            graph = _standardized(graph, norm, place, input_signed=input_signed)
    graph = merge_moves(graph)
    ahead = [node for node in graph.nodes if node.kind == "standardize"]  # they read nothing but inputs
    return replace(graph, nodes=(*ahead, *(node for node in graph.nodes if node.kind != "standardize")))


def _place(graph: Graph, norm: Node) -> _Place | None:
    """Where a multiply-add stands, if nothing but moves of its own lies between it and an input."""
    value, shape, axis, first = norm.ins[0], norm.shape, 0, None
    if not shape:
        return None
    one = is_one_number(graph, norm)
    while (move := graph.producer(value)) is not None and move.kind in MOVES:
        before = _shape_before(graph, move)
        found = 0 if one else _axis_before(move, before, axis)
        if not before or found is None or len(graph.readers(value)) > 1:
            return None
        value, shape, axis, first = move.ins[0], before, found, move
    if move is None:
        return _Place(value, shape, axis, first) if value not in graph.states else None
    alone = move.kind == "standardize" and len(graph.readers(value)) == 1
    fits = move.attrs.get("axis") == axis or one or is_one_number(graph, move)
    return _Place(value, shape, axis, first) if alone and fits else None


def is_one_number(graph: Graph, norm: Node) -> bool:
    """Whether one number serves all channels of a multiply-add, or there is one channel."""
    spec = graph.scales.get(norm.norm)
    channels = norm.shape[norm.attrs.get("axis", 0)]
    return channels == 1 or (spec is not None and spec.gain.numel() == spec.bias.numel() == 1)


def _shape_before(graph: Graph, move: Node) -> Shape:
    """The shape of what a move reads; () where it is not known."""
    source = graph.producer(move.ins[0])
    return source.shape if source is not None else graph.shapes.get(move.ins[0], ())


def _axis_before(move: Node, before: Shape, axis: int) -> int | None:
    """The dimension that becomes ``axis`` by a move; of a reshape, one before which all dimensions are 1."""
    if move.kind == "transpose":
        return int(move.attrs["axes"][axis])
    place = next((i for i, size in enumerate(before) if size > 1), None)
    leads = all(size == 1 for size in move.shape[:axis])
    return place if place is not None and leads and before[place] == move.shape[axis] else None


def _standardized(graph: Graph, norm: Node, place: _Place, *, input_signed: bool) -> Graph:
    before = graph.producer(place.source)
    positive = before.quantizer == "unsigned" if before is not None else not input_signed
    quantizer = "unsigned" if positive and _keeps_sign(graph, norm) else "signed"
    made = replace(norm, kind="standardize", ins=(place.source,), shape=place.shape, quantizer=quantizer)
    made = replace(made, attrs={"axis": place.axis})
    if place.first is None:
        graph = graph.with_node(norm, made)
    if before is not None:
        graph = graph.with_node(before, replace(before, quantizer="float"))
    if place.first is None:
        return graph
    graph = graph.without(norm, norm.ins[0])
    i = next(i for i, node in enumerate(graph.nodes) if node.out == place.first.out)
    moved = replace(place.first, ins=(made.out,))
    return replace(graph, nodes=(*graph.nodes[:i], made, moved, *graph.nodes[i + 1 :]))


def _keeps_sign(graph: Graph, norm: Node) -> bool:
    """Whether what is never negative stays so: neither number is, and none is trained."""
    spec = graph.scales.get(norm.norm)
    return spec is not None and not spec.trained and float(min(spec.gain.min(), spec.bias.min())) >= 0
