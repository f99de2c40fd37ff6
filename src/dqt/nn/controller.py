"""The controller: a small network that reads the stem (or the input) and gives logits over widths, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dqt.arith.plan import Layer
from dqt.nn.config import Config, Controller
from dqt.nn.controller_late import late_nodes, place_late
from dqt.nn.graph import Graph, Node, needed_for

HIDDEN, NORM, LOGITS = "controller.hidden", "controller.norm", "controller.logits"
SHARE = 0.01


@dataclass(frozen=True)
class Plans:
    """A controller to be built: the network's nodes with its own among them, and the weights it starts from."""

    nodes: tuple[Node, ...]
    layers: dict[str, tuple[Tensor, Tensor]]


def plan_controller(
    spec: Controller, choices: int, graph: Graph, shapes: dict[str, tuple[int, ...]], chosen: int, parameters: int
) -> Plans:
    """A controller for ``chosen`` layers with ``choices`` widths each, in the middle of the network's nodes.

    Its hidden layer has a batch norm: what it reads differs little from sample to sample beside its mean, and without
    the norm it learns the mean alone, which is one plan for every input.

    Args:
        parameters: of the model; the hidden layer takes at most 1 % of them unless its size is given.
    """
    stem = stem_of(graph)
    read = stem.out if spec.reads == "stem" else _entry(graph)
    shape, before = shapes[read], needed_for(graph.nodes, (read,))
    positive = spec.reads == "stem" and stem.quantizer in ("relu", "unsigned")
    made: list[Node] = []
    if len(shape) > 1:
        grid = tuple(min(spec.grid, size) for size in shape[1:])
        pooled = (shape[0], *grid)
        quantizer = "unsigned" if positive else "signed"
        made.append(
            Node(
                "avg_pool",
                "controller.pool",
                (read,),
                pooled,
                quantizer=quantizer,
                attrs={"adaptive": grid},
                controller=True,
            )
        )
        shape = (math.prod(pooled),)
        made.append(
            Node("reshape", "controller.features", ("controller.pool",), shape, quantizer="same", controller=True)
        )
        read = "controller.features"
    features, logits = shape[0], chosen * choices
    hidden = _hidden(spec, parameters, features, logits)
    made += [
        *_layers(read, hidden, logits),
        Node("choose", "controller.choice", (LOGITS,), (logits,), quantizer="same", controller=True),
    ]
    layers = {HIDDEN: _start(hidden, features), LOGITS: _start(logits, hidden)}
    first = [node for node in graph.nodes if node.out in before]
    return Plans((*first, *made, *(node for node in graph.nodes if node.out not in before)), layers)


def plan_late(
    config: Config, graph: Graph, shapes: dict[str, tuple[int, ...]], chosen: tuple[str, ...], parameters: int
) -> Plans:
    """A controller that decides late, once for all layers that follow; arguments as of :func:`plan_controller`.

    Raises:
        UnsupportedError: see :func:`dqt.nn.controller_late.place_late`.
    """
    assert config.controller is not None
    late = place_late(config, graph, shapes, chosen)
    read, logits = late.nodes[-1], len(config.choices)
    hidden = _hidden(config.controller, parameters, read.shape[0], logits)
    made = [*late.nodes, *_layers(read.out, hidden, logits), *late_nodes(late, config)]
    layers = {HIDDEN: _start(hidden, read.shape[0]), LOGITS: _start(logits, hidden)}
    before = {node.out for node in late.before}
    return Plans((*late.before, *made, *(node for node in graph.nodes if node.out not in before)), layers)


def _hidden(spec: Controller, parameters: int, features: int, logits: int) -> int:
    return spec.hidden or max(4, int(SHARE * parameters - logits) // (features + logits + 1))


def _layers(read: str, hidden: int, logits: int) -> list[Node]:
    return [
        Node("linear", HIDDEN, (read,), (hidden,), layer=HIDDEN, norm=NORM, quantizer="relu", controller=True),
        Node("linear", LOGITS, (HIDDEN,), (logits,), layer=LOGITS, quantizer="int32", controller=True),
    ]


def _entry(graph: Graph) -> str:
    """The first input, or what it is standardized to where nobody reads it as it is."""
    value = graph.inputs[0]
    while (readers := graph.readers(value)) and all(each and each.kind == "standardize" for each in readers):
        value = next(each.out for each in readers if each)
    return value


def stem_of(graph: Graph) -> Node:
    """The layer whose result a controller may read: the first on the way from the first input, with none before it."""
    starts = []
    for layer in [node for node in graph.nodes if node.layer]:
        needed = needed_for(graph.nodes, layer.ins)
        if not any(node.layer and node.out in needed for node in graph.nodes):
            starts.append((graph.inputs[0] not in needed, layer))
    return min(starts, key=lambda start: start[0])[1]


def _start(out: int, features: int) -> tuple[Tensor, Tensor]:
    weight = torch.empty(out, features)
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    return weight, torch.zeros(out)


def controller_layers(plans: Plans) -> tuple[Layer, ...]:
    """The controller's own layers, for cost."""
    sizes = {name: tuple(weight.shape) for name, (weight, _) in plans.layers.items()}
    return tuple(Layer(name, out * features, out * features, features, out) for name, (out, features) in sizes.items())
