"""A model captured at several sizes of its named dimensions, so that what depends on them can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dqt.nn.calls import inputs_of
from dqt.nn.capture import Builder, Captured
from dqt.nn.errors import UnsupportedError
from dqt.nn.example import Example
from dqt.nn.export import Exported
from dqt.nn.graph import Node
from dqt.nn.relative import names_of
from dqt.nn.sizing import Sizing, sizing
from dqt.nn.variants import HELD

LONGEST = 1 << 16
"""The largest size of a named dimension that a constant is kept for."""


@dataclass(frozen=True)
class Captures:
    """What a model is at the sizes of the example, the first, and near them.

    Attributes:
        longest: at the largest sizes of the dimensions that constants are as long as, if there are any.
    """

    each: tuple[Captured, ...]
    longest: Captured | None
    sizing: Sizing

    @classmethod
    def of(cls, exported: Exported, example: Example) -> Captures:
        """Capture at every size.

        Raises:
            UnsupportedError: names everything that cannot be captured.
        """
        at = sizing(exported.program, exported.names, inputs_of(exported.program))
        each = tuple(Builder(exported, example, at.probe(sizes)).build() for sizes in at.at)
        found, longest = _lengths(each, at), None
        if found:
            most = {dim.name: dim.most for dim in at.dims if dim.name in found}
            longest = Builder(exported, example, at.probe({**at.at[0], **most})).build()
        inputs = tuple(replace(one, dims=dims) for one, dims in zip(each[0].inputs.each, at.names, strict=True))
        each[0].inputs = replace(each[0].inputs, each=inputs, dims={dim.name: dim for dim in at.dims})
        all_of_them = each if longest is None else (*each, longest)
        signs = _signs(all_of_them)
        for captured in all_of_them:
            nodes = tuple(replace(node, quantizer=signs.get(node.out, node.quantizer)) for node in captured.graph.nodes)
            captured.graph = replace(captured.graph, nodes=nodes)
        return cls(each, longest, at)


def _constants(captured: Captured) -> list[Node]:
    return [node for node in captured.graph.nodes if node.kind in HELD]


def _lengths(each: Sequence[Captured], at: Sizing) -> set[str]:
    """The named dimensions that constants are as long as.

    Raises:
        UnsupportedError: one of them has no largest size.
    """
    found: set[str] = set()
    for same in zip(*map(_constants, each), strict=False):
        shapes = [captured.held[node.attrs["path"]][0].shape for captured, node in zip(each, same, strict=True)]
        found.update(names_of([tuple(shape) for shape in shapes], at.at) or ())
    for dim in at.dims:
        if dim.name in found and dim.most > LONGEST:
            raise UnsupportedError(
                f"a constant of the model is as long as dimension {dim.name!r}, whose largest size is not known: pass "
                f"torch.export.Dim({dim.name!r}, max=512), or as many as the model takes"
            )
    return found - {""}


def _signs(each: Sequence[Captured]) -> dict[str, str]:
    """Constants that are negative at one size are signed at all."""
    return {node.out: "signed" for captured in each for node in _constants(captured) if node.quantizer == "signed"}
