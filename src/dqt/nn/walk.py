"""A network node by node over all batches: what is found at one node serves the ones after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from dqt.nn.batches import Batches
from dqt.nn.graph import Node
from dqt.nn.hooks import is_hooked
from dqt.nn.inputs import Input
from dqt.nn.net import Net
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

T = TypeVar("T")


def walk(
    net: Net,
    values: dict[str, list[T]],
    visit: Callable[[Node, list[list[T]]], list[T]],
    part: slice = slice(None),
) -> None:
    """Every node, or those of ``part``, on every batch before the next node.

    ``values``: the inputs, a signal for each batch, or what stands for one; the others come to it while they are
    needed.
    """
    for node, dead in zip(net.nodes[part], net._dead[part], strict=True):
        values[node.out] = visit(node, [values[name] for name in node.ins])
        for name in dead:
            values.pop(name, None)


def signals_of(net: Net, inputs: Batches, *, quantized: bool = True) -> dict[str, list[Signal]]:
    """Every input, batch by batch."""
    columns = zip(net.inputs.each, zip(*inputs, strict=True), strict=True)
    read = {one.name for one in net.inputs.each if one.kind == "float"} - net.floats
    quantizers = {one.name: net.quantizer_of(one.name) for one in net.inputs.each if one.name in read}
    return {one.name: [Signal(_typed(one, x), quantizers.get(one.name), quantized) for x in xs] for one, xs in columns}


def _typed(one: Input, x: Tensor) -> Tensor:
    return x.float() if one.kind == "float" else x


def float_results(net: Net, node: Node, ins: list[list[Signal]], values: list[Tensor]) -> list[Signal]:
    """What a node of the float model gives. ``values``: of :func:`before_norm`, which a layer needs not compute again.

    Hooks see what passes only where the modules are called.
    """
    if not node.layer or seen_by_hooks(net, node):
        run = Run({}, quantized=False)
        return [net.fake_node(node, list(each), run) for each in zip(*ins, strict=True)]
    norm = net.affine(node.norm)
    normed = values if norm is None else [norm(value, b=net.config.master) for value in values]
    return [Signal(node.clamped(value), net.quantizer(node), False) for value in normed]


def seen_by_hooks(net: Net, node: Node) -> bool:
    """Whether hooks look at a layer or at its norm."""
    return any(is_hooked(each) for each in (net.layer(node.layer), net.affine(node.norm)) if each is not None)


def before_norm(net: Net, node: Node, ins: Sequence[Signal]) -> list[Tensor]:
    """The float model's values that a node's norm reads, or would read: a layer's products, or what comes in."""
    values = [x.master for x in ins]
    if node.kind == "standardize":
        return [x.raw.float().movedim(1 + node.attrs["axis"], 1) for x in ins]
    if not node.layer:
        return values
    layer = net.layer(node.layer)
    return [layer.apply_weight(x, layer.weight, layer.bias) for x in values]


def axis_of(node: Node) -> int:
    """Where a layer's output channels lie."""
    return -1 if node.kind == "linear" else 1


OUTLYING = 8.0
"""Times the usual peak of a row."""
NEAR_CONSTANT = 1e-3
"""A variance below this part of the squared mean takes sums in float64: their difference is small beside them."""


def _usual(values: list[Tensor], unit: Tensor | None) -> list[Tensor]:
    """The rows ``[rows, features]`` whose peak is not many times the usual; all, where a sample is one row."""
    if values[0].dim() < 3:
        return values
    rows = [value.flatten(0, -2) for value in values]
    peaks = [(row.abs() if unit is None else (row * unit).abs_()).amax(-1) for row in rows]
    every = torch.cat(peaks)
    limit = OUTLYING * every.median()
    if bool((every <= limit).all()):
        return rows
    return [row[peak <= limit] for row, peak in zip(rows, peaks, strict=True)]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of every channel over samples and positions: ``mean`` and ``variance``, float64 ``[channels]``."""

    mean: Tensor
    variance: Tensor


def moments(values: Iterable[Tensor], axis: int, unit: Tensor | None = None) -> Moments:
    """Of the channels that lie at ``axis``.

    Where samples are rows of features (``axis`` -1), rows that stick out have no vote, as the first token of many
    transformers: what is wrong with one row must not move all others.

    Args:
        unit: what 1 is worth in each channel, where that is not the same.
    """
    rows = _usual(list(values), unit) if axis == -1 else list(values)
    found = _moments(rows, axis)
    if bool((found.variance < NEAR_CONSTANT * found.mean.square()).any()):
        found = _moments([value.double() for value in rows], axis)
    return found


def _moments(values: Sequence[Tensor], axis: int) -> Moments:
    """Sums over the positions of a sample, or over rows, in the type of the values; float64 over samples."""
    sums, squares, count = [], [], 0
    for value in values:
        inner = 2 if axis == 1 else 0
        parts = [each.flatten(2).sum(2) if value.dim() > 2 and inner else each for each in (value, value.square())]
        if not inner:
            parts = [each.flatten(0, -2).sum(0, keepdim=True) for each in parts]
        first, second = (each.sum(0, dtype=torch.float64) for each in parts)
        sums.append(first)
        squares.append(second)
        count += value.numel() // value.shape[axis]
    mean = torch.stack(sums).sum(0) / count
    return Moments(mean, (torch.stack(squares).sum(0) / count - mean.square()).clamp_min(0.0))
