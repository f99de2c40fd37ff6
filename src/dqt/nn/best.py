"""``dqt.calibrate(..., method="best")``: rounding, exponents and corrections from each layer's outputs at every width.

The float network and the network at each width run side by side, node by node. Before a layer runs, its master codes
are chosen such that its outputs at every width are next to those of the float network (:mod:`dqt.nn.adaptive`), from
inputs that hold what earlier layers left of the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from dqt.arith.nested import MAX_EXPONENT
from dqt.arith.plan import Plan, uniform
from dqt.nn import fake
from dqt.nn.adaptive import Problem, adapted, nearest_codes
from dqt.nn.batches import Batches
from dqt.nn.correct import correct_layer
from dqt.nn.graph import Node
from dqt.nn.layers import WidthLayer
from dqt.nn.net import Net
from dqt.nn.ranges import Signal
from dqt.nn.receptive import groups_of, has_patches, patches, positions
from dqt.nn.run import Run, controller_widths
from dqt.nn.walk import Moments, axis_of, before_norm, float_results, signals_of, walk
from dqt.nn.zeros import in_use

ROWS = 1 << 15
"""Positions whose patches a layer is judged on, of all samples together."""
JUDGED = 64
"""Samples that input exponents are judged on."""
CLEARLY = 0.9


def best(net: Net, inputs: Batches, expected: Mapping[str, Moments], advance: Callable[[], None]) -> None:
    """Set codes, exponents and corrections of every layer, whose ranges are set.

    Args:
        expected: of each layer of the float model, before its norm.
        advance: called after every node.
    """
    widths, used = net.config.widths, in_use(net)
    plans: list[Plan] = [uniform(net.space, b) for b in widths]
    runs = [Run(dict(plan.items_) | controller_widths(net.space)) for plan in plans]
    count = len(inputs)

    def visit(node: Node, ins: list[list[Signal]]) -> list[Signal]:
        advance()
        if node.controller and node.kind == "choose":
            return ins[0]
        parts = [[each[k * count : (k + 1) * count] for each in ins] for k in range(len(widths) + 1)]
        values = before_norm(net, node, parts[0][0]) if node.layer else []
        found = float_results(net, node, parts[0], values)
        if node.layer:
            at = dict(zip(widths, (each[0] for each in parts[1:]), strict=True))
            _layer(net, node, parts[0][0], at, expected[node.layer], used.get(node.layer, ()))
        for run, operands in zip(runs, parts[1:], strict=True):
            found += [net.fake_node(node, list(each), run) for each in zip(*operands, strict=True)]
        return found

    plain, quantized = signals_of(net, inputs, quantized=False), signals_of(net, inputs)
    walk(net, {name: plain[name] + quantized[name] * len(widths) for name in plain}, visit)


def _layer(
    net: Net, node: Node, plain: list[Signal], at: Mapping[int, list[Signal]], expected: Moments, used: Sequence[int]
) -> None:
    layer = net.layer(node.layer)
    widths = [b for b in layer.widths if b in used]
    if widths and has_patches(layer) and layer.learned and "weight" in layer._parameters:
        _read_inputs(node, layer, plain, at, widths)
        _adapt(layer, plain, at, widths)
    for b in layer.widths:
        correct_layer(net, node, at[b], expected, b)


# which part of its input a width reads


def _read_inputs(
    node: Node, layer: WidthLayer, plain: list[Signal], at: Mapping[int, list[Signal]], widths: list[int]
) -> None:
    quantizer = plain[0].quantizer
    low = [b for b in widths if b < layer.n]
    if quantizer is None or not 0 <= quantizer.zero < 1 << layer.n or not low:
        return
    found = dict(zip(layer.widths, layer.reading.inputs, strict=True))
    y = layer.apply_weight(_first(plain, lambda x: x.master), layer.weight, None)
    for b in low:
        errors = []
        for e in range(min(MAX_EXPONENT, layer.n - b) + 1):
            x = _first(at[b], partial(_real, b=b, e=e))
            errors.append(_unexplained(y, layer.apply_weight(x, layer.weight, None), axis_of(node)))
        judged = [errors[0], *(error / CLEARLY for error in errors[1:])]
        found[b] = min(range(len(judged)), key=judged.__getitem__)
    layer.read_as(replace(layer.reading, inputs=tuple(found[b] for b in layer.widths)))


def _real(x: Signal, b: int, e: int) -> Tensor:
    return x.real(b, e)


def _first(signals: Sequence[Signal], value: Callable[[Signal], Tensor]) -> Tensor:
    """Of the first samples."""
    taken, parts = 0, []
    for each in signals:
        if taken < JUDGED:
            parts.append(value(each.like(each.raw[: JUDGED - taken])))
            taken += len(parts[-1])
    return torch.cat(parts).float()


def _unexplained(y: Tensor, other: Tensor, axis: int) -> float:
    """The variance of the outputs ``y`` that no factor and offset of each channel of ``other`` give."""
    a, b = (v.transpose(axis, -1).flatten(0, -2).double() for v in (y, other))
    a, b = a - a.mean(0), b - b.mean(0)
    along, size = (a * b).sum(0), b.square().sum(0)
    return float((a.square().sum(0) - along.square() / size.clamp_min(1e-30)).sum())


# codes


@dataclass(frozen=True, eq=False)
class _Seen:
    """Second moments of what a layer reads: ``H``, ``G`` by width and ``F``; see :mod:`dqt.nn.adaptive`."""

    own: Tensor
    cross: Tensor
    whole: Tensor


def _seen(layer: WidthLayer, plain: list[Signal], at: Mapping[int, list[Signal]], widths: list[int]) -> _Seen:
    samples = sum(len(each.raw) for each in plain)
    count = positions(layer, plain[0].master)
    some = max(1, ROWS // samples)
    own, cross = [], []
    generator = torch.Generator().manual_seed(0)
    rows = [None if some >= count else torch.randperm(count, generator=generator)[:some] for _ in plain]
    real = _centred([patches(layer, x.master.float(), r) for x, r in zip(plain, rows, strict=True)])
    for b in widths:
        e = layer.input_exponent(b)
        quantized = _centred([patches(layer, x.real(b, e).float(), r) for x, r in zip(at[b], rows, strict=True)])
        own.append(_covariance(quantized, quantized))
        cross.append(_covariance(quantized, real))
    return _Seen(torch.stack(own), torch.stack(cross), _covariance(real, real))


def _centred(parts: list[Tensor]) -> list[Tensor]:
    """Rows ``[groups, rows, in]`` of all batches, less their mean."""
    count = sum(part.shape[1] for part in parts)
    mean = torch.stack([part.sum(1, dtype=torch.float64) for part in parts]).sum(0) / count
    return [part - mean[:, None].float() for part in parts]


def _covariance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """``[groups, in, in]`` float64, of centred rows; float32 inside of a batch."""
    count = sum(part.shape[1] for part in a)
    return torch.stack([(x.transpose(1, 2) @ y).double() for x, y in zip(a, b, strict=True)]).sum(0) / count


def _adapt(layer: WidthLayer, plain: list[Signal], at: Mapping[int, list[Signal]], widths: list[int]) -> None:
    """Choose the part of the range that each width reads its weights in, and then the codes."""
    seen = _seen(layer, plain, at, widths)
    errors = []
    for e in range(MAX_EXPONENT + 1):
        problem = _problem(layer, seen, widths, [min(e, layer.n - b) for b in widths])
        t, targets = problem.narrowed(nearest_codes(problem)), problem.targets()
        errors.append(problem.errors(t, problem.factors(t, targets), targets).sum((1, 2)) / CLEARLY ** min(e, 1))
    exponents = [min(int(e), layer.n - b) for e, b in zip(torch.stack(errors).argmin(0), widths, strict=True)]
    found = dict(zip(layer.widths, layer.reading.weights, strict=True)) | dict(zip(widths, exponents, strict=True))
    layer.read_as(replace(layer.reading, weights=tuple(found[b] for b in layer.widths)))
    _set_codes(layer, adapted(_problem(layer, seen, widths, exponents)).reshape(layer.weight.shape))


def _problem(layer: WidthLayer, seen: _Seen, widths: list[int], exponents: list[int]) -> Problem:
    """The layer's rounding with these exponents."""
    groups, n, nearest = groups_of(layer), layer.n, layer.reading.nearest
    weight = layer.weight.detach().double().flatten(1).reshape(groups, -1, layer.weight[0].numel())
    codes = torch.arange(-(1 << (n - 1)), 1 << (n - 1), dtype=torch.float32, device=weight.device)[None]
    one, none = codes.new_ones(1), codes.new_zeros(1)
    pairs = list(zip(widths, exponents, strict=True))
    levels = [fake.narrow_weight(codes, one, n, b, none, e, nearest=nearest)[0] for b, e in pairs]
    middles = [_middles(layer, b, e) for b, e in pairs]
    return Problem(
        weight, layer.scale().double().reshape(groups, -1), seen.own, seen.cross, seen.whole,
        torch.stack(levels).double(), torch.stack(middles).double(), -(1 << (n - 1)),
    )  # fmt: skip


def _set_codes(layer: WidthLayer, q: Tensor) -> None:
    """Move weights such that their master codes become ``q``; those whose codes are so stay as they are."""
    scale, before = fake.per_channel(layer.scale(), layer.weight), layer.codes().long()
    layer.weight.add_(((q - before) * scale).float())
    again = q != layer.codes().long()  # what rounding to float32 left on the other side of a tie, or saturates
    layer.weight.copy_(torch.where(again, (q * scale).float(), layer.weight))


def _middles(layer: WidthLayer, b: int, e: int) -> Tensor:
    """Midpoints of each column, ``[in]``."""
    if layer.reading.nearest or b + e == layer.n:
        return torch.zeros(layer.weight[0].numel(), device=layer.weight.device)
    h: Tensor = getattr(layer, f"midpoint_{b + e}")
    return h.expand(1, *layer.weight.shape[1:]).reshape(-1)
