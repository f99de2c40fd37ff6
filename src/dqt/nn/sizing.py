"""Which sizes the named dimensions of an exported graph may have, and at which of them it is captured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import fx

from dqt.nn.dimensions import Names
from dqt.nn.errors import UnsupportedError
from dqt.program.schema import MAX_DIM
from dqt.program.values import Dimension

PROBES = 4
"""At so many sizes a network is captured: at those of the example, and near them."""
TRIED = 512
"""So many sizes are looked at, at most, for one that the model takes."""


@dataclass(frozen=True)
class Sizing:
    """The named dimensions of an exported graph.

    Attributes:
        dims: with their ranges.
        names: of each input, the name of each dimension after the batch, "" where it is fixed; () where all are.
        symbols: of each name in the graph.
        at: sizes to capture at, by name; the first are those of the example.
    """

    dims: tuple[Dimension, ...] = ()
    names: tuple[tuple[str, ...], ...] = ()
    symbols: Mapping[str, Any] = field(default_factory=dict)
    at: tuple[Mapping[str, int], ...] = ({},)

    def probe(self, sizes: Mapping[str, int]) -> dict[Any, int]:
        """Sizes by name as sizes of the graph's symbols."""
        return {self.symbols[name]: size for name, size in sizes.items()}


def sizing(program: torch.export.ExportedProgram, names: Names, inputs: Sequence[fx.Node]) -> Sizing:
    """What torch found out about the named dimensions of ``inputs``, placeholders of the graph.

    Raises:
        UnsupportedError: the model takes fewer sizes than the user said, or two of them must be equal.
    """
    listed = tuple(_listed(given, axes) for given, axes in zip(inputs, names.axes, strict=True))
    sizes = {
        name: given.meta["val"].shape[axis + 1].node
        for given, axes in zip(inputs, names.axes, strict=True)
        for axis, name in axes.items()
    }
    if not sizes:
        return Sizing(names=listed)
    graph = _Graph(program, inputs[0], names, {name: size.expr for name, size in sizes.items()})
    own = {name: int(size.hint) for name, size in sizes.items()}
    dims = tuple(Dimension(name, *graph.range(name, own)) for name in sizes)
    return Sizing(dims, listed, graph.symbols, tuple(graph.near(own)))


class _Graph:
    """What an exported graph asks of its symbols."""

    def __init__(
        self, program: torch.export.ExportedProgram, first: fx.Node, names: Names, symbols: Mapping[str, Any]
    ) -> None:
        self.symbols, self.kinds, self.ranges = symbols, names.kinds, program.range_constraints
        batch = first.meta["val"].shape[0].node
        self.batch, self.guards = batch.expr, [guard.expr for guard in batch.shape_env.guards]
        for first_name, name in combinations(symbols, 2):
            if symbols[first_name] == symbols[name]:
                raise UnsupportedError(
                    f"dimensions {first_name!r} and {name!r} are always equal in this model: give them one name"
                )

    def range(self, name: str, own: Mapping[str, int]) -> tuple[int, int]:
        """The smallest and the largest size, where the others are as in the example."""
        known, kind = self.ranges[self.symbols[name]], self.kinds[name]
        most = MAX_DIM if known.upper > MAX_DIM else int(known.upper)
        if kind.most is not None and most < kind.most:
            raise UnsupportedError(f"dims lets dimension {name!r} be up to {kind.most}, and the model takes {most}")
        low = max(1, int(known.lower), kind.least or 1)
        return next((size for size in range(low, own[name]) if self._takes({**own, name: size})), own[name]), most

    def near(self, own: Mapping[str, int]) -> Iterator[Mapping[str, int]]:
        """Sizes to capture at, ``own`` first: where possible odd and even, and others for each dimension."""
        yield own
        found = 1
        ways = {name: list(self._others(name, own, len(own) * PROBES)) for name in own}
        for k in range(TRIED):
            sizes = {
                name: some[(k + place * (k + 1)) % len(some)] if some else own[name]
                for place, (name, some) in enumerate(ways.items())
            }
            if found < PROBES and sizes != own and self._takes(sizes):
                found += 1
                yield sizes
        if found == 1:
            raise UnsupportedError(f"the model takes no other sizes of {', '.join(own)} than those of the example")

    def _others(self, name: str, own: Mapping[str, int], count: int) -> Iterator[int]:
        """Sizes of one dimension, where the others are as in the example: larger ones, then smaller ones."""
        least, most = self.range(name, own)
        above = range(own[name] + 1, min(most, own[name] + TRIED) + 1)
        for size in (*above, *range(own[name] - 1, least - 1, -1)):
            if count and self._takes({**own, name: size}):
                count -= 1
                yield size

    def _takes(self, sizes: Mapping[str, int]) -> bool:
        """Whether the graph is that of these sizes, too."""
        known = {self.symbols[name]: size for name, size in sizes.items()} | {self.batch: 2}
        whole = all(size % self.kinds[name].factor == 0 for name, size in sizes.items())
        return whole and all(guard.subs(known) != False for guard in self.guards)  # noqa: E712 - sympy's, or unknown


def _listed(given: fx.Node, axes: Mapping[int, str]) -> tuple[str, ...]:
    rank = given.meta["val"].dim() - 1
    return tuple(axes.get(axis, "") for axis in range(rank)) if axes else ()
