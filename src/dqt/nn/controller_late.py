"""A late controller: it reads features inside of the network, or the outputs of a whole run, and decides then."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dqt.nn.config import Config
from dqt.nn.errors import UnsupportedError
from dqt.nn.graph import Graph, Node, needed_for

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Late:
    """Where a late controller stands.

    Attributes:
        before: the nodes that run before it, in order.   nodes: its own, up to the vector that its layers read.
        layers: the layers of the plan that take what it chooses.
    """

    before: tuple[Node, ...]
    nodes: tuple[Node, ...]
    layers: tuple[str, ...]


def place_late(config: Config, graph: Graph, shapes: Shapes, chosen: tuple[str, ...]) -> Late:
    """The features of a late controller, for the layers ``chosen`` of the plan that are no edges.

    Raises:
        UnsupportedError: there is no such module, it has no features, what gives the margin has no classes, or nothing
            is left to choose.
    """
    spec = config.controller
    assert spec is not None
    if spec.rerun and graph.states:
        raise UnsupportedError("the controller has samples run again (rerun=True), and every run changes the states")
    parts: list[Node] = []
    if "features" in spec.reads:
        parts += _features(_end_of(spec.after or "", graph), graph, shapes, spec.grid)
    if "margin" in spec.reads:
        parts += _margin(graph.outputs[0] if spec.rerun else _end_of(spec.after or "", graph), shapes, spec.margins)
    read = [parts[-1].out] if len(spec.reads) == 1 else ["controller.features", "controller.margin"]
    if len(read) > 1:
        length = sum(node.shape[0] for node in parts if node.out in read)
        parts.append(_node("concat", "controller.read", tuple(read), (length,), "signed", axis=0))
    if spec.rerun:
        return Late(graph.nodes, tuple(parts), chosen)
    needed = needed_for(graph.nodes, (_end_of(spec.after or "", graph),))
    before = tuple(node for node in graph.nodes if node.out in needed)
    governed = tuple(name for name in chosen if name not in {node.layer or node.product for node in before})
    if not governed:
        raise UnsupportedError(
            f"the controller stands after {spec.after!r}, and no layer follows: it has nothing to choose"
        )
    return Late(before, tuple(parts), governed)


def late_nodes(late: Late, config: Config) -> Iterator[Node]:
    """The decision, behind the controller's logits."""
    assert config.controller is not None
    first = config.controller.first or config.choices[0]
    attrs = {"layers": late.layers, "first": first, "again": config.controller.rerun}
    yield _node("choose_late", "controller.choice", ("controller.logits",), (len(config.choices),), "same", **attrs)


def _node(kind: str, out: str, ins: tuple[str, ...], shape: tuple[int, ...], quantizer: str, **attrs: Any) -> Node:
    return Node(kind, out, ins, shape, quantizer=quantizer, attrs=attrs, controller=True)


def _end_of(path: str, graph: Graph) -> str:
    """The value that a module gives: the last that is defined inside of it."""
    inside = [node.out for node in graph.nodes if f"{node.out}.".startswith(f"{path}.")]
    if inside:
        return inside[-1]
    known = sorted({node.out.split(".")[0] for node in graph.nodes})
    raise UnsupportedError(f"the controller's after={path!r} is no module of the model: it has {', '.join(known[:20])}")


def _features(value: str, graph: Graph, shapes: Shapes, grid: int) -> Iterator[Node]:
    """Means over a raster, as a vector."""
    if any(node.out == value and node.quantizer == "int32" for node in graph.nodes):
        raise UnsupportedError(
            f"the controller reads features of {value}, an output of the model in int32: set reads=('margin',)"
        )
    shape = shapes[value]
    if len(shape) > 1:
        cells = tuple(min(grid, size) for size in shape[1:])
        pooled = (shape[0], *cells)
        yield _node("avg_pool", "controller.pool", (value,), pooled, "signed", adaptive=cells)
        value, shape = "controller.pool", pooled
    yield _node("reshape", "controller.features", (value,), (math.prod(shape),), "same")


def _margin(value: str, shapes: Shapes, margins: int) -> Iterator[Node]:
    """How far the outputs that follow the largest of a sample lie below it: what no order of the classes changes."""
    shape = shapes[value]
    if len(shape) != 1 or shape[0] < 2:
        raise UnsupportedError(
            f"the controller reads the margin of {value} of shape {list(shape)}: need [classes], two or more"
        )
    count = min(shape[0], 1 + margins)
    yield _node("top_k", "controller.top", (value,), (count,), "same", count=count)
    one = {"starts": (0,), "stops": (1,), "steps": (1,)}
    yield _node("slice", "controller.best", ("controller.top",), (1,), "same", **one)
    rest = {"starts": (1,), "stops": (count,), "steps": (1,)}
    yield _node("slice", "controller.others", ("controller.top",), (count - 1,), "same", **rest)
    ins = ("controller.best", "controller.others")
    yield _node("sub", "controller.margin", ins, (count - 1,), "unsigned")
