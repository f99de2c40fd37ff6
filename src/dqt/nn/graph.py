"""The captured network as a list of nodes; what prepare makes, Net runs and lower translates."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from dqt.nn.scales import ScaleSpec

INPUT = "input"
"""The name of the only input, unless the user gave it another."""
CHOICES = ("choose", "choose_late")
"""The kinds of nodes that decide on widths."""


@dataclass(frozen=True)
class Node:
    """One operator on named values.

    Attributes:
        kind: of its operator, see :mod:`dqt.nn.operator`.
        out: the value it defines; also the name of the value's quantizer where it has one of its own.
        ins: the values it reads.
        shape: of the result, without the batch.
        layer: name of its :class:`~dqt.nn.layers.WidthLayer`, which is its module path.
        product: name of a layer of the plan that has no weights: a product of two activations.
        norm: module path of its batch norm, or of the constants that it multiplies by and adds.
        quantizer: ``"relu"``, ``"unsigned"`` or ``"signed"``: the result becomes codes of a quantizer of its own (see
            :class:`~dqt.nn.ranges.Quantizer`); ``"unit"``: shares, from 0 to 1; ``"same"``: it keeps the codes of its
            input; ``"int32"``: it stays an int32 sum; ``"float"``: it stays real, for the quantizer after it.
        floor, cap: bounds of a fused ReLU: the first of one whose result stays int32, the second of any.
        attrs: geometry, by kind.
        controller: whether only plan "auto" runs it.
        apart: whether it is a layer of neurons that stick out (:mod:`dqt.nn.apart`).
    """

    kind: str
    out: str
    ins: tuple[str, ...]
    shape: tuple[int, ...]
    layer: str = ""
    product: str = ""
    norm: str = ""
    quantizer: str = "signed"
    floor: float = float("-inf")
    cap: float = float("inf")
    attrs: Mapping[str, Any] = field(default_factory=dict)
    controller: bool = False
    apart: bool = False

    @property
    def clamps(self) -> bool:
        """Whether its int32 result is clamped as a ReLU clamps; codes are clamped by their quantizer."""
        return self.floor == 0

    @property
    def by_feature(self) -> bool:
        """Whether it is a norm of the last dimension, with constants for each of its features."""
        return self.kind == "normalize" and self.attrs["axis"] == len(self.shape) - 1 and self.attrs["groups"] == 1

    def clamped(self, raw: Tensor) -> Tensor:
        """Real results as a fused ReLU leaves them."""
        return raw.clamp(self.floor, self.cap) if self.clamps else raw

    def __str__(self) -> str:
        """Its kind, what it reads, and what is not as usual: ``conv(x) layer=stem quantizer=relu``."""
        quantizer = self.quantizer if self.quantizer != "signed" else ""
        said = {"layer": self.layer, "product": self.product, "norm": self.norm, "quantizer": quantizer}
        words = [f"{name}={value}" for name, value in said.items() if value]
        words += [f"{name}={value}" for name, value in self.attrs.items()]
        return " ".join([f"{self.kind}({', '.join(self.ins)})", *words])


@dataclass(frozen=True)
class Graph:
    """A network between two passes (:mod:`dqt.nn.passes`): its nodes in order, each value defined before it is read.

    Attributes:
        outputs: the values that the network returns, in order; one may stand there twice, or be an input.
        scales: name of a multiply-add by constants (:attr:`Node.norm`) -> its constants.
        inputs: the values that it is given.
        states: input -> place of the output that it becomes in the next run.
        shapes: of the inputs, without the batch.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    scales: Mapping[str, ScaleSpec] = field(default_factory=dict)
    inputs: tuple[str, ...] = (INPUT,)
    states: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def kept(self) -> frozenset[str]:
        """The values that become states."""
        return frozenset(self.outputs[place] for place in self.states.values())

    @property
    def shown(self) -> tuple[str, ...]:
        """The values that are outputs, without those that are there as states alone."""
        return tuple(name for i, name in enumerate(self.outputs) if i not in self.states.values())

    def producer(self, value: str) -> Node | None:
        """The node that defines ``value``; ``None`` of an input of the network."""
        return next((node for node in self.nodes if node.out == value), None)

    def readers(self, value: str) -> list[Node | None]:
        """The nodes that read ``value``, one for each time; ``None`` stands for whoever reads it as an output."""
        found: list[Node | None] = [node for node in self.nodes for name in node.ins if name == value]
        return [*found, *[None for name in self.outputs if name == value]]

    def with_node(self, old: Node, new: Node) -> Graph:
        """``new`` in the place of ``old``; who read the result of ``old`` reads that of ``new``."""
        nodes = tuple(new if node is old else _reading(node, old.out, new.out) for node in self.nodes)
        return replace(self, nodes=nodes, outputs=self._outputs(old.out, new.out))

    def without(self, node: Node, value: str) -> Graph:
        """Without ``node``; who read its result reads ``value``."""
        nodes = tuple(_reading(each, node.out, value) for each in self.nodes if each.out != node.out)
        return replace(self, nodes=nodes, outputs=self._outputs(node.out, value))

    def _outputs(self, old: str, new: str) -> tuple[str, ...]:
        return tuple(new if name == old else name for name in self.outputs)

    def with_reader(self, new: Node, readers: Container[str]) -> Graph:
        """``new`` after the node that it reads; ``readers`` of that, by what they define, and states read ``new``."""
        (old,) = new.ins
        nodes: list[Node] = []
        for node in self.nodes:
            nodes.append(_reading(node, old, new.out) if node.out in readers else node)
            if node.out == old:
                nodes.append(new)
        states = self.states.values()
        outputs = (new.out if name == old and i in states else name for i, name in enumerate(self.outputs))
        return replace(self, nodes=tuple(nodes), outputs=tuple(outputs))

    def with_scale(self, name: str, spec: ScaleSpec) -> Graph:
        """Other constants under a name."""
        return replace(self, scales={**self.scales, name: spec})

    def merged(self, first: Node, second: Node, *, into: Node, **changes: Any) -> Graph:
        """Two nodes as one: ``into``, one of the two, with ``changes``. ``second`` alone reads ``first``.

        Raises:
            ValueError: ``into`` is neither.
        """
        if into is second:
            kept = replace(second, ins=tuple(first.ins[0] if name == first.out else name for name in second.ins))
        elif into is first:
            kept = first
        else:
            raise ValueError("a merge keeps one of its two nodes")
        gone = second if into is first else first
        graph = self.with_node(into, replace(kept, **changes))
        return graph.without(gone, kept.out)

    def __str__(self) -> str:
        lines = [f"{node.out} = {node}" for node in self.nodes]
        return "\n".join([*lines, f"return {', '.join(self.outputs)}"])


def _reading(node: Node, old: str, new: str) -> Node:
    """``node`` with ``new`` for ``old`` among what it reads."""
    return replace(node, ins=tuple(new if name == old else name for name in node.ins)) if old in node.ins else node


def norm_of(nodes: Iterable[Node], codes: Node) -> Node | None:
    """The node whose result ``codes`` makes codes of; dropout between is no part of a program."""
    by_name = {node.out: node for node in nodes}
    found = by_name.get(codes.ins[0])
    while found is not None and found.kind == "dropout":
        found = by_name.get(found.ins[0])
    return found


def last_uses(nodes: tuple[Node, ...], outputs: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """For each node, the values that no later node reads and that are no output."""
    seen = set(outputs)
    dead: list[tuple[str, ...]] = []
    for node in reversed(nodes):
        dead.append(tuple(name for name in dict.fromkeys(node.ins) if name not in seen))
        seen.update(node.ins)
    return tuple(reversed(dead))


def needed_for(nodes: tuple[Node, ...], values: Iterable[str]) -> set[str]:
    """The values that ``values`` are computed from, with themselves."""
    needed = set(values)
    for node in reversed(nodes):
        if node.out in needed:
            needed.update(node.ins)
    return needed


def first_and_last(graph: Graph) -> set[str]:
    """The layers at the ends: the first that each input reaches, and the last that each output comes from."""
    layers = [node for node in graph.nodes if node.layer]
    reached = {node.out: needed_for(graph.nodes, (node.out,)) for node in layers}
    first = (next((node for node in layers if name in reached[node.out]), None) for name in graph.inputs)
    behind = (needed_for(graph.nodes, (value,)) for value in graph.outputs)
    last = (next((node for node in reversed(layers) if node.out in needed), None) for needed in behind)
    return {node.layer for node in (*first, *last) if node is not None}
