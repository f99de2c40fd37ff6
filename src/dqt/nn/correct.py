"""Corrections of each width: every layer's outputs get the mean and the deviation that they have in the float model.

Rounding noise and saturation change both (Nagel et al., 2019, for the mean). What corrects them is a factor and an
offset for each channel, which cost nothing: the requantization of each width has them in its constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dqt.arith.plan import Pair
from dqt.nn.batches import Batches
from dqt.nn.graph import CHOICES, Node
from dqt.nn.kept import Kept, Signals, closed, coded, kept
from dqt.nn.layered import by_channel, constants
from dqt.nn.layers import WidthLayer
from dqt.nn.net import Net
from dqt.nn.operator import operators
from dqt.nn.ranges import Signal
from dqt.nn.run import Run, controller_widths
from dqt.nn.walk import Moments, axis_of, moments, seen_by_hooks, signals_of, walk
from dqt.program.layered import row_pairs

LEAST, MOST = 0.5, 2.0
"""Factors lie between: more is not noise, but a channel that hardly lives."""
TINY = 1e-12
MACS = {3: 5 << 36, 4: 1 << 37, 8: 1 << 36}
"""Multiplications of a pass at most, where the smaller width is at most the key: a large network is corrected on fewer
samples. Their moments are compared with those that the same samples have in the float model, so that few are enough
where rounding changes little."""
LEAST_SAMPLES = 8
FEW = 64
"""Samples that corrections of unlike widths are found on, at most."""
ELEMENTS = 1 << 22
"""Of the largest value of a batch that is computed at once."""


def correct(
    net: Net,
    inputs: Batches,
    expected: Mapping[str, Moments],
    pairs: Sequence[Pair],
    advance: Callable[[], None],
    *,
    factors: bool = True,
) -> None:
    """A pass for each of ``pairs`` of widths of weights and activations, the edges at theirs, which corrects one layer
    after the other.

    Args:
        expected: of each layer of the float model on ``inputs``, before its norm.
        advance: called after every pass.
        factors: deviations, too, and not means alone.
    """
    inputs, edge, begin = cut(net, inputs), (net.space.edge_width,) * 2, None
    for i, pair in enumerate(pairs):
        if begin is None and edge not in pairs[i:]:
            begin = _begin(net, inputs)
        _correct(net, inputs, expected, pair, begin, factors=factors)
        advance()


@dataclass(frozen=True, eq=False)
class _Begin:
    """What passes have in common, whose edges have their corrections: the first nodes.

    Attributes:
        nodes: how many.   reads: what those of them with layers read.   values: what is alive after them.
    """

    nodes: int
    reads: list[tuple[Node, list[Kept]]]
    values: dict[str, list[Kept]]


def _begin(net: Net, inputs: Batches) -> _Begin:
    """The nodes before the first one whose widths a plan may choose."""
    edges = {layer.name for layer in net.space.layers if layer.edge}
    chosen = (n.controller or n.product or (n.layer and n.layer not in edges) for n in net.nodes)
    count = next((i for i, found in enumerate(chosen) if found), len(net.nodes))
    run, reads = _run(net, (net.space.edge_width,) * 2), []

    def visit(node: Node, ins: list[list[Kept]]) -> list[Kept]:
        if node.layer:
            reads.append((node, ins[0]))
        return computed(net, node, [*map(Signals, ins)], run)

    values = _kept_inputs(net, inputs)
    walk(net, values, visit, slice(count))
    return _Begin(count, reads, values)


def _kept_inputs(net: Net, inputs: Batches) -> dict[str, list[Kept]]:
    return {name: [*map(kept, signals)] for name, signals in signals_of(net, inputs).items()}


def _correct(
    net: Net, inputs: Batches, expected: Mapping[str, Moments], pair: Pair, begin: _Begin | None, *, factors: bool
) -> None:
    run = _run(net, pair)

    def corrected(node: Node, ins: Sequence[Signal]) -> list[Tensor]:
        if node.apart or not set(pair) <= set(net.layer(node.layer).widths):
            return []
        return correct_layer(net, node, ins, expected[node.layer], pair, factors=factors)

    def visit(node: Node, ins: list[list[Kept]]) -> list[Kept]:
        if node.controller and node.kind in CHOICES:
            return ins[0]
        read = [*map(Signals, ins)]
        sums = corrected(node, read[0]) if node.layer else []
        return computed(net, node, read, run, sums if node.layer and run.widths[node.layer] == pair else [])

    if begin is None:
        walk(net, _kept_inputs(net, inputs), visit)
        return
    for node, reads in begin.reads:
        corrected(node, Signals(reads))
    walk(net, dict(begin.values), visit, slice(begin.nodes, None))


def computed(
    net: Net, node: Node, ins: Sequence[Sequence[Signal]], run: Run, sums: Sequence[Tensor] = ()
) -> list[Kept]:
    """What a node gives; ``sums``: its layer's accumulators, where they are there already."""
    if node.layer and not seen_by_hooks(net, node):
        pair = run.widths[node.layer]
        return results(net, node, ins[0], sums or products(net, node, ins[0], pair), pair)
    selects = operators()[node.kind].selects
    read = ([closed(x) if selects else x for x in each] for each in zip(*ins, strict=True))
    return [kept(net.fake_node(node, each, run)) for each in read]


def cut(net: Net, inputs: Batches) -> Batches:
    """The same samples in batches whose values are small, which are computed in the same memory again and again."""
    count = max(1, ELEMENTS // max(math.prod(node.shape) for node in net.nodes))
    parts = ([torch.split(x, count) for x in batch] for batch in inputs)
    return [part for each in parts for part in zip(*each, strict=True)]


def _run(net: Net, pair: Pair) -> Run:
    """Products of activations have the activations' width."""
    edge, inputs = (net.space.edge_width,) * 2, (pair[1],) * 2
    plan = {each.name: edge if each.edge else pair if each.weights else inputs for each in net.space.layers}
    return Run(plan | controller_widths(net.space), rough=True)


def like_pairs(net: Net) -> list[Pair]:
    """Every width, the edges' first and then from the master down."""
    return [(b, b) for b in sorted(net.config.widths, key=lambda b: (b != net.space.edge_width, -b))]


def unlike_pairs(net: Net) -> list[Pair]:
    """The pairs of unlike widths that have constants; see :func:`dqt.program.layered.row_pairs`."""
    return [(bw, ba) for bw, ba in row_pairs(net.config.widths) if bw != ba]


def samples_for(net: Net, pair: Pair, count: int) -> int:
    """How many of ``count`` samples a pass at widths ``pair`` is for. Unlike widths need no more than 4 bits do."""
    like, macs = pair[0] == pair[1], sum(layer.macs for layer in net.space.layers)
    width = min(pair) if like else max(4, min(pair))
    most = next(most for key, most in MACS.items() if width <= key)
    found = min(count, max(LEAST_SAMPLES, most // max(macs, 1)))
    return found if like else min(found, FEW)


def correct_layer(
    net: Net, node: Node, ins: Sequence[Signal], expected: Moments, pair: Pair, *, factors: bool = True
) -> list[Tensor]:
    """One layer at widths ``pair``, from what it reads there.

    Returns:
        its accumulators, batch by batch.
    """
    layer = net.layer(node.layer)
    sums = products(net, node, ins, pair)
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


def products(net: Net, node: Node, ins: Sequence[Signal], pair: Pair) -> list[Tensor]:
    """A layer's accumulators at widths ``pair``, in master units: integers in float32."""
    layer, (bw, ba) = net.layer(node.layer), pair
    weight, e = layer.narrowed(bw), layer.input_exponent(ba)
    return [layer.apply_weight(x.codes(ba, e).float(), weight, None) for x in ins]


def results(net: Net, node: Node, ins: Sequence[Signal], sums: Sequence[Tensor], pair: Pair) -> list[Kept]:
    """What a layer gives at widths ``pair``. The accumulators are lost: their memory is used."""
    layer, quantizer = net.layer(node.layer), net.quantizer(node)
    scale, bias = constants(layer, net.affine(node.norm), ins[0], pair, quantizer)
    if quantizer is not None:  # codes by truncation
        step = quantizer.scale().double()
        scale, bias = scale / step, bias / step + quantizer.zero + 0.5
    scale, bias = (by_channel(layer, each.float(), sums[0]) for each in (scale, bias))
    values = (acc.mul_(scale).add_(bias) for acc in sums)
    if quantizer is None:
        return [Kept(node.clamped(value), None, True) for value in values]
    return [coded(value, quantizer) for value in values]


def _factor(expected: Moments, got: Moments) -> Tensor:
    """From the deviation that a channel has to that of the float model; 1 where either has none."""
    alive = (expected.variance > TINY * expected.mean.square()) & (got.variance > TINY * got.mean.square())
    ratio = (expected.variance.clamp_min(1e-60) / got.variance.clamp_min(1e-60)).sqrt()
    return ratio.clamp(LEAST, MOST).where(alive, ratio.new_ones(()))
