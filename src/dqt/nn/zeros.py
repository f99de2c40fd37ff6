"""Zero points: which ones the readers of an activation's codes allow (docs/numerics.md, Fact 10)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dqt.nn.graph import Node
from dqt.nn.net import Net

FARTHEST = 4
"""A zero point outside of the codes lies at most so many times their number away from them."""
MIDDLE_WIDTH = 5
PADS = {"pad", "conv_transpose", "frames", "conv3d"}
"""Nodes that put real zeros beside codes, or may do so."""


@dataclass(frozen=True)
class Readers:
    """What the readers of a quantizer's codes ask of them.

    Attributes:
        n: the master width.
        widths: those that plans give the layers that read the codes, ascending; other operators read the master. An
            edge layer counts with its edge width alone.
        grid: the zero point is a multiple of this in ``[0, 2^n - 1]``; 1 where nothing needs it on a coarser grid.
        anywhere: it may lie outside of the codes, too.
        parts: whether every width below the master may read a part of the range: all that read there are layers with
            weights, which have exponents.
        one_range: the clip is to suit all widths, and not the master first.
        fixed: the only zero point, where it is given.
    """

    n: int
    widths: tuple[int, ...]
    grid: int
    anywhere: bool
    parts: bool
    one_range: bool = False
    fixed: int | None = None

    @property
    def zeros(self) -> tuple[int, ...]:
        """The zero points to choose from, where they lie on a grid."""
        return tuple(range(0, 1 << self.n, self.grid)) if self.fixed is None else (self.fixed,)

    @property
    def free(self) -> bool:
        """Whether the zero point is any number."""
        return self.grid == 1 and self.fixed is None


def readers_of(net: Net) -> dict[str, Readers]:
    """Of every quantizer, by the value that it is named after."""
    widths = in_use(net)
    nodes: dict[str, list[Node]] = {owner: [] for owner in net.owners.values()}
    for node in net.nodes:
        for owner in dict.fromkeys(net.owners[name] for name in node.ins):
            nodes[owner].append(node)
    states = {net.owners[name] for name in net.signature.states}
    return {owner: _readers(net, owner, found, widths, owner in states) for owner, found in nodes.items()}


def _readers(net: Net, owner: str, nodes: list[Node], used: dict[str, tuple[int, ...]], state: bool) -> Readers:
    n, lowest = net.config.master, net.config.widths[0]  # operators, and layers of the controller, read the master
    widths = {n}.union(*(used.get(node.layer or node.product, ()) for node in nodes))
    padded = state or any(_pads(node) for node in nodes)
    grid = 1 << (n - (lowest if padded else min(widths)))
    inside = padded or owner not in net.entries or any(node.product for node in nodes)
    parts = not any(node.product for node in nodes)
    return Readers(n, tuple(sorted(widths)), grid, grid == 1 and not inside, parts)


def _pads(node: Node) -> bool:
    return node.kind in PADS or (any(node.attrs.get("padding", ())) and node.kind in ("conv",))


def in_use(net: Net) -> dict[str, tuple[int, ...]]:
    """Layer -> the widths that plans give it, ascending: an edge layer its edge width, another all."""
    edge = (net.space.edge_width,)
    return {layer.name: edge if layer.edge else net.config.widths for layer in net.space.layers}


def middle_widths(widths: Iterable[int]) -> tuple[int, ...]:
    """The widths that one range for all is chosen at: the nearest to 5; of two as near both have a vote."""
    given = tuple(widths)
    nearest = min(abs(b - MIDDLE_WIDTH) for b in given)
    return tuple(b for b in given if abs(b - MIDDLE_WIDTH) == nearest)
