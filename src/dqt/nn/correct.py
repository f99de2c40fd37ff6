"""Corrections of each width: every layer's outputs get the mean and the deviation that they have in the float model.

Rounding noise and saturation change both (Nagel et al., 2019, for the mean). What corrects them is a factor and an
offset for each channel, which cost nothing: the requantization of each width has them in its constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dqt.arith.plan import Plan, uniform
from dqt.nn.batches import Batches
from dqt.nn.graph import CHOICES, Node
from dqt.nn.layered import accumulator, scaled
from dqt.nn.layers import WidthLayer
from dqt.nn.net import Net
from dqt.nn.ranges import Signal
from dqt.nn.run import Run, controller_widths
from dqt.nn.walk import Moments, axis_of, moments, seen_by_hooks, signals_of, walk

LEAST, MOST = 0.5, 2.0
"""Factors lie between: more is not noise, but a channel that hardly lives."""
TINY = 1e-12


def correct(net: Net, inputs: Batches, expected: Mapping[str, Moments], b: int, *, factors: bool = True) -> None:
    """Run at uniform width ``b`` and correct one layer after the other.

    Args:
        expected: of each layer of the float model, before its norm.
        factors: deviations, too, and not means alone.
    """
    plan: Plan = uniform(net.space, b)
    run = Run(dict(plan.items_) | controller_widths(net.space))

    def visit(node: Node, ins: list[list[Signal]]) -> list[Signal]:
        if node.controller and node.kind in CHOICES:
            return ins[0]
        if node.layer and b in net.layer(node.layer).widths:
            sums = correct_layer(net, node, ins[0], expected[node.layer], b, factors=factors)
            if run.widths[node.layer] == (b, b) and not seen_by_hooks(net, node):
                return results(net, node, ins[0], sums, b)
        return [net.fake_node(node, list(each), run) for each in zip(*ins, strict=True)]

    walk(net, signals_of(net, inputs), visit)


def correct_layer(
    net: Net, node: Node, ins: Sequence[Signal], expected: Moments, b: int, *, factors: bool = True
) -> list[Tensor]:
    """One layer at widths ``(b, b)``, from what it reads there.

    Returns:
        its accumulators, batch by batch.
    """
    layer = net.layer(node.layer)
    row = layer.widths.index(b)
    layer.gain[row], layer.correction[row] = 1.0, 0.0
    sums = [accumulator(layer, x, (b, b)) for x in ins]
    got = _scaled(layer, moments(sums, axis_of(node), layer.scale().detach()), ins[0])
    factor = _factor(expected, got) if factors else torch.ones_like(got.mean)
    layer.gain[row] = factor
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    layer.correction[row] = expected.mean - bias - factor * (got.mean - bias)
    return sums


def _scaled(layer: WidthLayer, sums: Moments, x: Signal) -> Moments:
    """Of a layer's real outputs without corrections, from those of its accumulators."""
    scale = layer.scale().double() * x.scale.double()
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    return Moments(sums.mean * scale + bias, sums.variance * scale.square())


def results(net: Net, node: Node, ins: Sequence[Signal], sums: Sequence[Tensor], b: int) -> list[Signal]:
    """What a layer gives at widths ``(b, b)``, from its accumulators of :func:`correct_layer`."""
    layer, norm, quantizer = net.layer(node.layer), net.affine(node.norm), net.quantizer(node)
    values = (scaled(layer, norm, acc, x, b, quantizer) for acc, x in zip(sums, ins, strict=True))
    return [Signal(node.clamped(value), quantizer) for value in values]


def _factor(expected: Moments, got: Moments) -> Tensor:
    """From the deviation that a channel has to that of the float model; 1 where either has none."""
    alive = (expected.variance > TINY * expected.mean.square()) & (got.variance > TINY * got.mean.square())
    ratio = (expected.variance.clamp_min(1e-60) / got.variance.clamp_min(1e-60)).sqrt()
    return ratio.clamp(LEAST, MOST).where(alive, ratio.new_ones(()))
