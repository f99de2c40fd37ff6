"""``dqt.calibrate(..., method="best")``: rounding, exponents and corrections from each layer's outputs at every width.

The float network and the network at each width run side by side, node by node. Before a layer runs, its master codes
are chosen such that its outputs at every width are next to those of the float network (:mod:`dqt.nn.adaptive`), from
inputs that hold what earlier layers left of the error. Between the nodes a value at a width is kept as its codes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from dqt.arith.nested import MAX_EXPONENT
from dqt.arith.plan import uniform
from dqt.nn import fake
from dqt.nn.adaptive import Problem, adapted, nearest_codes
from dqt.nn.batches import Batches
from dqt.nn.correct import computed, correct_layer
from dqt.nn.graph import CHOICES, Node
from dqt.nn.kept import Kept, Signals, kept
from dqt.nn.layers import WidthLayer
from dqt.nn.net import Net
from dqt.nn.ranges import Signal
from dqt.nn.receptive import groups_of, has_patches, patches, positions
from dqt.nn.refine import refine, steps_for
from dqt.nn.run import Run, controller_widths
from dqt.nn.walk import Moments, axis_of, before_norm, float_results, signals_of, walk
from dqt.nn.zeros import in_use

ROWS, ROWS_OF = 1 << 15, 576
"""Positions whose patches a layer is judged on, of all samples together; fewer where a patch has more elements."""
JUDGED, LEAST_JUDGED, VALUES = 64, 8, 1 << 22
"""Samples that input exponents are judged on; fewer where a layer gives many values, which are as many all together."""
CLEARLY = 0.9


def best_steps(net: Net) -> int:
    """How often :func:`best` says that it has advanced."""
    return len(net.nodes) + steps_for(net)


def best(net: Net, inputs: Batches, expected: Mapping[str, Moments], advance: Callable[[], None]) -> None:
    """Set codes, exponents and corrections of every layer, whose ranges are set, and refine all of them together.

    Args:
        expected: of each layer of the float model, before its norm.
        advance: called after every step.
    """
    teacher = copy.deepcopy(net)
    layer_by_layer(net, inputs, expected, advance)
    refine(net, teacher, inputs, expected, advance)


def layer_by_layer(net: Net, inputs: Batches, expected: Mapping[str, Moments], advance: Callable[[], None]) -> None:
    """Codes, exponents and corrections of one layer after the other; as :func:`best`."""
    widths, used = net.config.widths, in_use(net)
    plans = [dict(uniform(net.space, b).items_) | controller_widths(net.space) for b in widths]
    runs = {b: Run(plan, rough=True) for b, plan in zip(widths, plans, strict=True)}
    count = len(inputs)

    def visit(node: Node, ins: list[list[Kept]]) -> list[Kept]:
        advance()
        if node.controller and node.kind in CHOICES:
            return ins[0]
        plain, *others = [[Signals(each[k * count : (k + 1) * count]) for each in ins] for k in range(len(widths) + 1)]
        found, at = _plain(net, node, plain), dict(zip(widths, others, strict=True))
        if node.layer:
            _choose(net, node, plain[0], {b: each[0] for b, each in at.items()}, used.get(node.layer, ()))
        for b, run in runs.items():
            found += _at_width(net, node, at[b], run, b, expected)
        return found

    floats, quantized = signals_of(net, inputs, quantized=False), signals_of(net, inputs)
    walk(net, {name: [*map(kept, floats[name] + quantized[name] * len(widths))] for name in floats}, visit)


def _plain(net: Net, node: Node, ins: Sequence[Sequence[Signal]]) -> list[Kept]:
    """What a node of the float model gives."""
    found: list[Kept] = []
    for each in zip(*ins, strict=True):
        values = before_norm(net, node, each[:1]) if node.layer else []
        found += map(kept, float_results(net, node, [[x] for x in each], values))
    return found


def _at_width(
    net: Net, node: Node, ins: Sequence[Sequence[Signal]], run: Run, b: int, expected: Mapping[str, Moments]
) -> list[Kept]:
    """What a node gives at one width; a layer is corrected first."""
    sums: Sequence[Tensor] = ()
    if node.layer and not node.apart and b in net.layer(node.layer).widths:
        found = correct_layer(net, node, ins[0], expected[node.layer], (b, b))
        sums = found if run.widths[node.layer] == (b, b) else ()
    return computed(net, node, ins, run, sums)


def _choose(
    net: Net, node: Node, plain: Sequence[Signal], at: Mapping[int, Sequence[Signal]], used: Sequence[int]
) -> None:
    """Exponents and codes of a layer."""
    layer = net.layer(node.layer)
    widths = [b for b in layer.widths if b in used]
    if widths and has_patches(layer) and layer.learned and "weight" in layer._parameters:
        _read_inputs(node, layer, plain, at, widths)
        _adapt(layer, plain, at, widths)


# which part of its input a width reads


def _read_inputs(
    node: Node, layer: WidthLayer, plain: Sequence[Signal], at: Mapping[int, Sequence[Signal]], widths: list[int]
) -> None:
    quantizer = plain[0].quantizer
    low = [b for b in widths if b < layer.n]
    if quantizer is None or not 0 <= quantizer.zero < 1 << layer.n or not low:
        return
    found = dict(zip(layer.widths, layer.reading.inputs, strict=True))
    count = max(LEAST_JUDGED, min(JUDGED, VALUES // math.prod(node.shape)))
    outputs = partial(_outputs, layer, axis_of(node))
    y = outputs(x.master for x in _first(plain, count))
    for b in low:
        exponents = range(min(MAX_EXPONENT, layer.n - b) + 1)
        errors = [_unexplained(y, outputs(x.real(b, e) for x in _first(at[b], count))) for e in exponents]
        judged = [errors[0], *(error / CLEARLY for error in errors[1:])]
        found[b] = min(range(len(judged)), key=judged.__getitem__)
    layer.read_as(replace(layer.reading, inputs=tuple(found[b] for b in layer.widths)))


def _first(signals: Sequence[Signal], count: int) -> Iterator[Signal]:
    """The first ``count`` samples, batch by batch."""
    for each in signals:
        if count > 0:
            yield each.like(each.raw[:count])
        count -= len(each.raw)


def _outputs(layer: WidthLayer, axis: int, inputs: Iterable[Tensor]) -> Tensor:
    """A layer's float64 outputs for batches that it reads, ``[rows, channels]``. Lengths of batches may differ."""
    found = (layer.apply_weight(x.float(), layer.weight, None) for x in inputs)
    return torch.cat([y.transpose(axis, -1).flatten(0, -2) for y in found]).double()


def _unexplained(y: Tensor, other: Tensor) -> float:
    """The variance of the outputs ``y`` that no factor and offset of each channel of ``other`` give."""
    a, b = y - y.mean(0), other - other.mean(0)
    along, size = (a * b).sum(0), b.square().sum(0)
    return float((a.square().sum(0) - along.square() / size.clamp_min(1e-30)).sum())


# codes


@dataclass(frozen=True, eq=False)
class _Seen:
    """Second moments of what a layer reads at each width, and of its float outputs; see :mod:`dqt.nn.adaptive`."""

    own: Tensor
    targets: Tensor
    energy: Tensor


def _seen(layer: WidthLayer, plain: Sequence[Signal], at: Mapping[int, Sequence[Signal]], widths: list[int]) -> _Seen:
    samples, size = sum(len(each.raw) for each in plain), layer.weight[0].numel()
    some = max(1, min(ROWS, ROWS * ROWS_OF // size) // samples)
    generator, sums = torch.Generator().manual_seed(0), _Sums(len(widths))
    weight = layer.weight.detach().flatten(1).reshape(groups_of(layer), -1, size).transpose(1, 2)
    for i, x in enumerate(plain):
        count = positions(layer, x.master)
        rows = None if some >= count else torch.randperm(count, generator=generator)[:some]
        quantized = (at[b][i].real(b, layer.input_exponent(b)) for b in widths)
        outputs = patches(layer, x.master.float(), rows) @ weight
        sums.add(outputs, (patches(layer, each.float(), rows) for each in quantized))
    return sums.seen()


class _Sums:
    """Second moments of rows ``[groups, rows, ...]``: products in float32 inside of a batch, float64 over all batches.

    What is summed is the difference to the first batch's mean, so that nothing is lost where means are large.
    """

    def __init__(self, widths: int) -> None:
        self._count, self._outputs, self._inputs = 0, _Rows(), [_Rows() for _ in range(widths)]

    def add(self, outputs: Tensor, inputs: Iterable[Tensor]) -> None:
        """Rows of a batch: the float layer's outputs ``[groups, rows, out]``, and its inputs at each width."""
        y, first = self._outputs.centred(outputs), not self._count
        for k, (rows, each) in enumerate(zip(self._inputs, inputs, strict=True)):
            x = rows.centred(each)
            if first and not k:
                groups, size, out = len(x), x.shape[-1], y.shape[-1]
                zeros = partial(torch.zeros, dtype=torch.float64, device=x.device)
                self._own, self._cross = (zeros(len(self._inputs), groups, n, size) for n in (size, out))
                self._energy = zeros(groups, out)
            self._own[k] += x.transpose(1, 2) @ x
            self._cross[k] += y.transpose(1, 2) @ x
        self._energy += y.square().sum(1)
        self._count += outputs.shape[1]

    def seen(self) -> _Seen:
        """Of all rows."""
        y = self._outputs.total / self._count
        for own, cross, rows in zip(self._own, self._cross, self._inputs, strict=True):
            x = rows.total / self._count
            own.div_(self._count).sub_(x[:, :, None] * x[:, None])
            cross.div_(self._count).sub_(y[:, :, None] * x[:, None])
        return _Seen(self._own.float(), self._cross.float(), (self._energy / self._count - y.square()).float())


class _Rows:
    """Rows less their mean in the first batch, and the sum of the differences, ``[groups, elements]`` float64."""

    def __init__(self) -> None:
        self._origin: Tensor | None = None

    def centred(self, rows: Tensor) -> Tensor:
        """Those of a batch."""
        if self._origin is None:
            self._origin = rows.mean(1, keepdim=True)
            self.total = torch.zeros_like(self._origin[:, 0], dtype=torch.float64)
        found = rows - self._origin
        self.total += found.sum(1)
        return found


def _adapt(layer: WidthLayer, plain: Sequence[Signal], at: Mapping[int, Sequence[Signal]], widths: list[int]) -> None:
    """Choose the part of the range that each width reads its weights in, and then the codes."""
    seen = _seen(layer, plain, at, widths)
    errors = []
    for e in range(MAX_EXPONENT + 1):
        problem = _problem(layer, seen, widths, [min(e, layer.n - b) for b in widths])
        fit = problem.fit(problem.narrowed(nearest_codes(problem)))
        errors.append(fit.errors.sum((1, 2)) / CLEARLY ** min(e, 1))
    exponents = [min(int(e), layer.n - b) for e, b in zip(torch.stack(errors).argmin(0), widths, strict=True)]
    found = dict(zip(layer.widths, layer.reading.weights, strict=True)) | dict(zip(widths, exponents, strict=True))
    layer.read_as(replace(layer.reading, weights=tuple(found[b] for b in layer.widths)))
    _set_codes(layer, adapted(_problem(layer, seen, widths, exponents)).reshape(layer.weight.shape))


def _problem(layer: WidthLayer, seen: _Seen, widths: list[int], exponents: list[int]) -> Problem:
    """The layer's rounding with these exponents."""
    groups, n, nearest = groups_of(layer), layer.n, layer.reading.nearest
    weight = layer.weight.detach().flatten(1).reshape(groups, -1, layer.weight[0].numel())
    codes = torch.arange(-(1 << (n - 1)), 1 << (n - 1), dtype=torch.float32, device=weight.device)[None]
    one, none = codes.new_ones(1), codes.new_zeros(1)
    pairs = list(zip(widths, exponents, strict=True))
    levels = [fake.narrow_weight(codes, one, n, b, none, e, nearest=nearest)[0] for b, e in pairs]
    middles = [_middles(layer, b, e) for b, e in pairs]
    return Problem(
        weight, layer.scale().reshape(groups, -1), seen.own, seen.targets, seen.energy,
        torch.stack(levels), torch.stack(middles), -(1 << (n - 1)),
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
