"""Corrections of each width: every layer's outputs get the mean and the deviation that they have in the float model.

Rounding noise and saturation change both (Nagel et al., 2019, for the mean). What corrects them is a factor and an
offset for each channel, which cost nothing: the requantization of each width has them in its constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from dqt.arith.plan import Pair
from dqt.nn.batches import Batches
from dqt.nn.graph import CHOICES, Node
from dqt.nn.layered import accumulator, scaled
from dqt.nn.layers import WidthLayer
from dqt.nn.net import Net
from dqt.nn.ranges import Signal
from dqt.nn.run import Run, controller_widths
from dqt.nn.walk import Moments, axis_of, moments, seen_by_hooks, signals_of, walk
from dqt.program.layered import row_pairs

LEAST, MOST = 0.5, 2.0
"""Factors lie between: more is not noise, but a channel that hardly lives."""
TINY = 1e-12
FEW = 64
"""Samples that corrections of unlike widths are found on."""


def correct(net: Net, inputs: Batches, expected: Mapping[str, Moments], pair: Pair, *, factors: bool = True) -> None:
    """Run with weights and activations at widths ``pair``, the edges at theirs, and correct one layer after the other.

    Args:
        expected: of each layer of the float model, before its norm.
        factors: deviations, too, and not means alone.
    """
    run = Run(_plan(net, pair) | controller_widths(net.space))

    def visit(node: Node, ins: list[list[Signal]]) -> list[Signal]:
        if node.controller and node.kind in CHOICES:
            return ins[0]
        if node.layer and not node.apart and set(pair) <= set(net.layer(node.layer).widths):
            sums = correct_layer(net, node, ins[0], expected[node.layer], pair, factors=factors)
            if run.widths[node.layer] == pair and not seen_by_hooks(net, node):
                return results(net, node, ins[0], sums, pair)
        return [net.fake_node(node, list(each), run) for each in zip(*ins, strict=True)]

    walk(net, signals_of(net, inputs), visit)


def _plan(net: Net, pair: Pair) -> dict[str, Pair]:
    """Products of activations have the activations' width."""
    edge, inputs = (net.space.edge_width,) * 2, (pair[1],) * 2
    return {each.name: edge if each.edge else pair if each.weights else inputs for each in net.space.layers}


def correct_unlike(net: Net, inputs: Batches, expected: Mapping[str, Moments], advance: Callable[[], None]) -> None:
    """:func:`correct` of every pair of unlike widths that has constants; see :func:`dqt.program.layered.row_pairs`.

    Args:
        inputs, expected: of the first :data:`FEW` samples: the moments of the same samples are compared.
        advance: called after every pass.
    """
    for pair in unlike_pairs(net):
        correct(net, inputs, expected, pair)
        advance()


def unlike_pairs(net: Net) -> list[Pair]:
    """The pairs of :func:`correct_unlike`."""
    return [(bw, ba) for bw, ba in row_pairs(net.config.widths) if bw != ba]


def first(values: Iterable[Tensor], count: int) -> list[Tensor]:
    """Of the first ``count`` samples."""
    found: list[Tensor] = []
    for value in values:
        if count > 0:
            found.append(value[:count])
            count -= len(value)
    return found


def correct_layer(
    net: Net, node: Node, ins: Sequence[Signal], expected: Moments, pair: Pair, *, factors: bool = True
) -> list[Tensor]:
    """One layer at widths ``pair``, from what it reads there.

    Returns:
        its accumulators, batch by batch.
    """
    layer = net.layer(node.layer)
    sums = [accumulator(layer, x, pair) for x in ins]
    got = _scaled(layer, moments(sums, axis_of(node), layer.scale().detach()), ins[0])
    factor = _factor(expected, got) if factors else torch.ones_like(got.mean)
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    offset = expected.mean - bias - factor * (got.mean - bias)
    row = layer.widths.index(min(pair))
    if pair[0] == pair[1]:
        layer.gain[row], layer.correction[row] = factor, offset
    else:
        other = layer.unlike(pair)
        layer.unlike_gain[other] = factor / layer.gain[row]
        layer.unlike_correction[other] = offset - layer.correction[row]
    return sums


def _scaled(layer: WidthLayer, sums: Moments, x: Signal) -> Moments:
    """Of a layer's real outputs without corrections, from those of its accumulators."""
    scale = layer.scale().double() * x.scale.double()
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    return Moments(sums.mean * scale + bias, sums.variance * scale.square())


def results(net: Net, node: Node, ins: Sequence[Signal], sums: Sequence[Tensor], pair: Pair) -> list[Signal]:
    """What a layer gives at widths ``pair``, from its accumulators of :func:`correct_layer`."""
    layer, norm, quantizer = net.layer(node.layer), net.affine(node.norm), net.quantizer(node)
    values = (scaled(layer, norm, acc, x, pair, quantizer) for acc, x in zip(sums, ins, strict=True))
    return [Signal(node.clamped(value), quantizer) for value in values]


def _factor(expected: Moments, got: Moments) -> Tensor:
    """From the deviation that a channel has to that of the float model; 1 where either has none."""
    alive = (expected.variance > TINY * expected.mean.square()) & (got.variance > TINY * got.mean.square())
    ratio = (expected.variance.clamp_min(1e-60) / got.variance.clamp_min(1e-60)).sqrt()
    return ratio.clamp(LEAST, MOST).where(alive, ratio.new_ones(()))
