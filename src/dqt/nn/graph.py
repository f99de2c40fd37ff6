"""The captured network as a list of nodes; what prepare makes, Net runs and lower translates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from dqt.nn.scales import ScaleSpec

INPUT = "input"


@dataclass(frozen=True)
class Node:
    """One operator on named values.

    Attributes:
        kind: of its operator, see :mod:`dqt.nn.operator`.
        out: the value it defines; also the name of the value's edge where it has one of its own.
        ins: the values it reads.
        shape: of the result, without the batch.
        layer: name of its :class:`~dqt.nn.layers.WidthLayer`, which is its module path.
        norm: module path of its batch norm, or of the constants that it multiplies by and adds.
        edge: ``"relu"``, ``"unsigned"`` or ``"signed"``: the result becomes codes of an edge of its own (see
            :class:`~dqt.nn.ranges.Edge`); ``"same"``: it keeps the codes of its input; ``"wide"``: it stays a wide
            integer.
        cap: upper bound of a fused ReLU.
        attrs: geometry, by kind.
        controller: whether only plan "auto" runs it.
    """

    kind: str
    out: str
    ins: tuple[str, ...]
    shape: tuple[int, ...]
    layer: str = ""
    norm: str = ""
    edge: str = "signed"
    cap: float = float("inf")
    attrs: Mapping[str, Any] = field(default_factory=dict)
    controller: bool = False

    def __str__(self) -> str:
        """Its kind, what it reads, and what is not as usual: ``conv(x) layer=stem edge=relu``."""
        said = {"layer": self.layer, "norm": self.norm, "edge": self.edge if self.edge != "signed" else ""}
        words = [f"{name}={value}" for name, value in said.items() if value]
        words += [f"{name}={value}" for name, value in self.attrs.items()]
        return " ".join([f"{self.kind}({', '.join(self.ins)})", *words])


@dataclass(frozen=True)
class Graph:
    """A network between two passes (:mod:`dqt.nn.passes`): its nodes in order, each value defined before it is read.

    Attributes:
        output: the value that the network returns.
        scales: name of a multiply-add by constants (:attr:`Step.norm`) -> its constants.
    """

    nodes: tuple[Node, ...]
    output: str
    scales: Mapping[str, ScaleSpec] = field(default_factory=dict)

    def producer(self, value: str) -> Node | None:
        """The node that defines ``value``; ``None`` of the network's input."""
        return next((node for node in self.nodes if node.out == value), None)

    def readers(self, value: str) -> list[Node | None]:
        """The nodes that read ``value``, one for each time; ``None`` stands for whoever reads the network's output."""
        found: list[Node | None] = [node for node in self.nodes for name in node.ins if name == value]
        return [*found, None] if value == self.output else found

    def with_node(self, old: Node, new: Node) -> Graph:
        """``new`` in the place of ``old``; who read the result of ``old`` reads that of ``new``."""
        nodes = tuple(new if node is old else _reading(node, old.out, new.out) for node in self.nodes)
        return replace(self, nodes=nodes, output=new.out if self.output == old.out else self.output)

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
        nodes = tuple(_reading(node, gone.out, kept.out) for node in graph.nodes if node.out != gone.out)
        return replace(graph, nodes=nodes, output=kept.out if graph.output == gone.out else graph.output)

    def __str__(self) -> str:
        lines = [f"{node.out} = {node}" for node in self.nodes]
        return "\n".join([*lines, f"return {self.output}"])


def _reading(node: Node, old: str, new: str) -> Node:
    """``node`` with ``new`` for ``old`` among what it reads."""
    return replace(node, ins=tuple(new if name == old else name for name in node.ins)) if old in node.ins else node


@dataclass(frozen=True)
class Structure:
    """What a model returns its one tensor in: a dict, a tuple, a data class that torch.utils._pytree knows.

    Attributes:
        form: the structure with an empty tensor in the tensor's place (data classes may leave out ``None``).
        index: which of its leaves that is.
    """

    form: Any
    index: int

    def around(self, y: Tensor) -> Any:
        """The structure, with ``y`` in its place."""
        leaves, spec = tree_flatten(self.form)
        leaves[self.index] = y
        return tree_unflatten(leaves, spec)


def last_uses(nodes: tuple[Node, ...]) -> tuple[tuple[str, ...], ...]:
    """For each node, the values that no later node reads."""
    seen: set[str] = {nodes[-1].out}
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
