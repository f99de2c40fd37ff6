"""One network at several sizes of its named dimensions, as one list of nodes that holds for all sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dqt.nn.graph import Node
from dqt.nn.relative import Shape, cut, grouped, names_of, repeated, scaled
from dqt.nn.scales import ScaleSpec

EVEN = "(a dimension that is named 2 * torch.export.Dim('height') has even sizes alone)"
HELD = ("constant", "mask")
"""Kinds of nodes that hold a constant, which may be as long as a named dimension."""


@dataclass(frozen=True)
class Variant:
    """A network at one size: its nodes, and what they compute with.

    Attributes:
        shapes: of every value.   sizes: of the named dimensions.
    """

    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    sizes: Mapping[str, int]
    scales: Mapping[str, ScaleSpec]
    held: Mapping[str, tuple[Tensor, bool]]


class Dependent(Exception):  # noqa: N818 - it is caught where it becomes an obstacle
    """A node that depends on a size in a way that cannot be said relatively."""


@dataclass
class Joint:
    """What holds at all sizes: nodes, and what is wrong with some, by what they define.

    Attributes:
        longest: constants that are as long as a named dimension, by their path.
    """

    nodes: list[Node]
    wrong: dict[str, str]
    longest: set[str]


def joint(variants: Sequence[Variant], inputs: Mapping[str, tuple[str, ...]]) -> Joint:
    """The nodes of a network at several sizes as one list. ``inputs``: the names of each one's dimensions."""
    found = Joint([], {}, set())
    for i, first in enumerate(variants[0].nodes):
        same = [variant.nodes[i] if i < len(variant.nodes) else None for variant in variants]
        nodes = [node for node in same if node is not None and _plain(node) == _plain(first)]
        try:
            if len(nodes) < len(variants):
                raise Dependent("becomes another operator at another size of a named dimension")
            found.nodes.append(_joint(nodes, variants, inputs, found.longest))
        except Dependent as error:
            found.wrong[first.out] = str(error)
            found.nodes.append(first)
            if len(nodes) < len(variants):
                break
    return found


def _plain(node: Node) -> Node:
    return replace(node, shape=(), attrs={})


def _joint(
    nodes: Sequence[Node], variants: Sequence[Variant], inputs: Mapping[str, tuple[str, ...]], longest: set[str]
) -> Node:
    first = nodes[0]
    _check_constants(first, variants)
    if first.kind == "reshape":
        return _reshape(nodes, variants)
    if first.kind == "slice":
        return _slice(nodes, variants)
    if first.kind == "resize":
        return _resize(nodes, variants)
    if first.kind == "gather" and any(node.attrs != first.attrs for node in nodes):
        return _gather(nodes, variants)
    _check_attrs(nodes)
    if first.kind in HELD and len(set(_held(first, variants))) > 1:
        longest.add(first.attrs["path"])
        return _constant(nodes, variants, inputs)
    return first


def _held(node: Node, variants: Sequence[Variant]) -> list[tuple[int, ...]]:
    """The shape of the constant of a node at each size."""
    return [tuple(variant.held[node.attrs["path"]][0].shape) for variant in variants]


def _check_constants(node: Node, variants: Sequence[Variant]) -> None:
    specs = [variant.scales[node.norm] for variant in variants if node.norm in variant.scales]
    if not all(torch.equal(each.gain, specs[0].gain) and torch.equal(each.bias, specs[0].bias) for each in specs):
        raise Dependent("multiplies by, or adds, a number that depends on the size of a named dimension")


def _check_attrs(nodes: Sequence[Node]) -> None:
    for key, value in nodes[0].attrs.items():
        if any(node.attrs[key] != value for node in nodes):
            raise Dependent(f"has other {key} at another size of a named dimension")


def _reshape(nodes: Sequence[Node], variants: Sequence[Variant]) -> Node:
    first = nodes[0]
    if all(node.shape == first.shape for node in nodes):
        return first
    before = [variant.shapes[first.ins[0]] for variant in variants]
    groups = grouped(before, [node.shape for node in nodes])
    if groups is None:
        raise Dependent("gives a shape that does not follow from its operand's, dimension by dimension, at every size")
    return replace(first, attrs={**first.attrs, "groups": groups})


def _slice(nodes: Sequence[Node], variants: Sequence[Variant]) -> Node:
    first = nodes[0]
    lengths = zip(*(variant.shapes[first.ins[0]] for variant in variants), strict=True)
    ends = (zip(*(node.attrs[key] for node in nodes), strict=True) for key in ("starts", "stops"))
    cuts = [cut(*each) for each in zip(lengths, *ends, strict=True)]
    if None in cuts or any(node.attrs["steps"] != first.attrs["steps"] for node in nodes):
        raise Dependent("cuts at a place that is neither fixed nor counted from the end")
    starts, stops = zip(*(each for each in cuts if each is not None), strict=True)
    return replace(first, attrs={**first.attrs, "starts": starts, "stops": stops})


def _resize(nodes: Sequence[Node], variants: Sequence[Variant]) -> Node:
    first, found = nodes[0], []
    before = [variant.shapes[first.ins[0]] for variant in variants]
    for axis, step in ((1, first.attrs["steps"][:2]), (2, first.attrs["steps"][2:])):
        said = scaled([shape[axis] for shape in before], [node.shape[axis] for node in nodes], step)
        if said is None or any(node.attrs["steps"] != first.attrs["steps"] for node in nodes):
            raise Dependent(f"gives a size that is not in proportion to its operand's at every size {EVEN}")
        found.append(said)
    (rows, down), (columns, across) = found
    return replace(first, attrs={**first.attrs, "size": (rows, columns), "steps": (*down, *across)})


def _gather(nodes: Sequence[Node], variants: Sequence[Variant]) -> Node:
    first, axis = nodes[0], nodes[0].attrs["axis"]
    lengths = [variant.shapes[first.ins[0]][axis] for variant in variants]
    times = repeated([node.attrs["indices"] for node in nodes], lengths)
    if not times or any(node.attrs["axis"] != axis for node in nodes):
        raise Dependent(f"picks other elements by index at another size of a named dimension {EVEN}")
    return replace(first, attrs={"axis": axis, "times": times})


def _constant(nodes: Sequence[Node], variants: Sequence[Variant], inputs: Mapping[str, tuple[str, ...]]) -> Node:
    """A constant whose first so many entries are taken: it reads the inputs that have its dimensions.

    A mask is as long as what it is added to.
    """
    first, sizes = nodes[0], [variant.sizes for variant in variants]
    names = names_of(_held(first, variants), sizes)
    whole = max((variant.held[first.attrs["path"]][0] for variant in variants), key=lambda each: each.numel())
    for variant in variants:
        part, _ = variant.held[first.attrs["path"]]
        if names is None or not torch.equal(part, whole[tuple(map(slice, part.shape))]):
            raise Dependent("makes a constant whose entries are others at another size of a named dimension")
    assert names is not None
    if first.kind == "mask":
        return replace(first, attrs={**first.attrs, "dims": names})
    sources = {name: next(each for each, dims in inputs.items() if name in dims) for name in names if name}
    ins = tuple(dict.fromkeys((*first.ins, *sources.values())))
    taken = [(ins.index(sources[name]), inputs[sources[name]].index(name)) if name else None for name in names]
    return replace(first, ins=ins, attrs={**first.attrs, "dims": names, "lengths": tuple(taken)})


def with_constants(variant: Sequence[Node], nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes of one size, with constants as they are at all sizes."""
    pairs = zip(variant, nodes, strict=True)
    return tuple(replace(at, ins=node.ins, attrs=node.attrs) if _sized(node) else at for at, node in pairs)


def _sized(node: Node) -> Any:
    return node.kind in HELD and node.attrs.get("dims")
