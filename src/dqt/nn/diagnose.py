"""What calibration sees that will serve badly: findings, each with the number behind it and what to do.

A finding is made where a plain cause is certain, not where a network is merely hard to quantize: every limit below is
far from what healthy networks show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from dqt.nn import fake
from dqt.nn.graph import INPUT, Node
from dqt.nn.layers import WidthLayer
from dqt.nn.observers import Extent
from dqt.nn.ranges import OBSERVED, TINY, Quantizer, Signal

if TYPE_CHECKING:
    from dqt.nn.net import Net

Kind = Literal["outlier", "dead", "constant", "channels", "join", "blind", "pruned", "coarse", "output"]

ELEMENTS = 1 << 22
"""Values that are looked at where a part of them tells enough, of all batches together."""
FEW_CODES = 4.0
"""A channel that has fewer codes than this, of 256, is lost."""
LOST_INPUT, LOST_INSIDE = 0.01, 0.05
"""Part of the variance that a reader gets from its channels which rounding at the master width may take."""
JOIN_CODES = 8.0
"""Codes that the smallest operand of a concatenation must span."""
BLIND, BLIND_WIDE, WIDE = 0.99, 0.75, 7
"""Part of the values other than 0 that may become 0 at the lowest width that a layer reads them with; the second at
``WIDE`` bits and above, where no healthy value comes near it."""
PRUNED = 0.3
"""Part of a layer's weights that may be exactly 0, rows of zeros aside."""
COARSE_OUTPUT = 0.05
"""Part of the output's deviation that rounding it to the master's codes may be; normal values show under 0.01."""
MOST = 5
"""Findings of one kind that are said one by one; more of them are one sentence."""


@dataclass(frozen=True)
class Finding:
    """One thing that will serve badly.

    Attributes:
        kind: what sort of thing.   where: the value or layer, by its name in the network; ``"input"``: the input.
        what: what was seen, in words.   number: the measure behind it.   advice: what to do.
        cause: what findings at several places have in common, if it is not the place.
    """

    kind: Kind
    where: str
    what: str
    number: float
    advice: str
    cause: str = ""

    def __str__(self) -> str:
        name = "the input" if self.where == INPUT else self.where
        return f"{name}: {self.what}; {self.advice}"


def distinct(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The first of each kind and cause: a value has several readers, and an outlier goes through the whole network."""
    first: dict[tuple[Kind, str], Finding] = {}
    for each in findings:
        first.setdefault((each.kind, each.cause or each.where), each)
    return tuple(first.values())


def sentences(findings: Sequence[Finding]) -> list[str]:
    """What to tell a user: one line each, or one for all of a kind where there are many."""
    said: list[str] = []
    for kind in dict.fromkeys(each.kind for each in findings):
        same = [each for each in findings if each.kind == kind]
        if len(same) <= MOST:
            said += map(str, same)
            continue
        names = ", ".join(each.where for each in same[1:MOST])
        said.append(f"{same[0]} (and the same at {len(same) - 1} more: {names}, ...; net.findings lists all)")
    return said


# where findings are made


def of_input(name: str, batches: Sequence[Tensor], extent: Extent | None = None) -> list[Finding]:
    """Of an input of the network, ``[N, ...]`` batches; ``extent``: of one that has a quantizer of its own."""
    low, high = min(float(x.min()) for x in batches), max(float(x.max()) for x in batches)
    if max(-low, high) <= TINY:
        return [_dead(name, "its ranges mean nothing: calibrate on real inputs")]
    found = _outlier(name, extent) if extent is not None else []
    if low == high and sum(x.numel() for x in batches) > 1:
        advice = "no range inside of the network means anything: calibrate on real inputs"
        found.append(Finding("constant", name, f"calibration saw one value alone, {low:.6g}", low, advice))
    return found


@torch.no_grad()
def of_node(
    net: Net, node: Node, ins: Sequence[Sequence[Signal]], signals: Sequence[Signal], extent: Extent | None
) -> list[Finding]:
    """Of one operator: what it reads, its weights, and what it gives.

    ``ins``, ``signals``: the float model's values, batch by batch, whose quantizers have their ranges already.
    ``extent``: of the result, where that has a quantizer of its own.
    """
    found: list[Finding] = []
    if extent is not None:
        dead = extent.largest <= TINY
        advice = "its range is a guess: calibrate on data that wake it, or take the dead part out of the model"
        found += [_dead(node.out, advice)] if dead else _outlier(node.out, extent)
    if node.kind == "concat":
        found += _join(node, ins, signals)
    if node.layer:
        layer, edge_layers = net.layer(node.layer), {each.name for each in net.space.layers if each.edge}
        lowest = net.space.edge_width if node.layer in edge_layers else layer.widths[0]
        found += _reads(net, node, ins[0], lowest) + of_weights(layer, lowest)
    elif node.kind == "affine":
        found += _channels(net, node, ins[0])
    return found + (_output(net, node, signals) if node.out in [output.value for output in net.signature.shown] else [])


def _output(net: Net, node: Node, signals: Sequence[Signal]) -> list[Finding]:
    """A network that does not end in a layer gives codes, not int32 outputs."""
    quantizer = net.quantizer(node)
    if quantizer is None:
        return []
    deviation = float(torch.cat([signal.master.flatten() for signal in signals]).double().std(correction=0))
    lost = float(quantizer.scale()) / math.sqrt(12) / deviation if deviation > TINY else 0.0
    if lost <= COARSE_OUTPUT:
        return []
    what = f"the network's output has {1 << quantizer.n} levels, whose rounding is {lost:.0%} of its deviation"
    advice = "end the model in a convolution or linear layer, whose output is 32-bit, and do what follows outside of it"
    return [Finding("output", node.out, what, lost, advice)]


def of_weights(layer: WidthLayer, lowest: int) -> list[Finding]:
    """Of one layer's weights; ``lowest``: the narrowest width that it runs at."""
    rows = layer.weight.flatten(1)
    live = rows[rows.abs().amax(1) > TINY]
    if lowest == layer.n or not len(live):
        return []
    zeros = float((live == 0).float().mean())
    if zeros >= PRUNED and not layer.reading.nearest:
        what = f"{zeros:.0%} of its weights are exactly 0, and below {layer.n} bits no weight code means 0"
        advice = f'pruned weights come back as noise: use Config(rule="auto"), or keep this layer at {layer.n} bits'
        return [Finding("pruned", layer.name, what, zeros, advice)]
    kept = layer.narrowed(lowest) * fake.per_channel(layer.scale(), layer.weight)
    error = (kept - layer.weight).flatten(1).square().sum(1)
    lost = float(error.sum() / rows.square().sum())
    if lost < 1:
        return []
    what = f"at {lowest} bits its weights are further from the model's than zeros would be (error {lost:.1f})"
    advice = "a few large weights leave the others no codes: keep it at more bits in a plan, or train with dqt.fit"
    return [Finding("coarse", layer.name, what, lost, advice)]


# the kinds


def _dead(where: str, advice: str) -> Finding:
    return Finding("dead", where, "calibration saw only zeros", 0.0, advice)


def _outlier(where: str, extent: Extent) -> list[Finding]:
    o = extent.outlier
    if o is None:
        return []
    rest = f"{o.count} samples hold such values" if o.count > 1 else "one sample holds such values"
    what = (
        f"{o.value:.6g} in batch {o.batch}, sample {o.sample}, channel {o.channel}, where the others reach "
        f"{o.others:.4g} ({rest})"
    )
    advice = "it saturates, and the range leaves it out; clean the data, or keep it with observer='max'"
    if extent.kept:
        advice = "observer 'max' gives nearly all codes to it; clean the data, or use observer='mse' or 'percentile'"
    ratio = abs(o.value) / max(o.others, TINY)
    return [Finding("outlier", where, what, ratio, advice, f"batch {o.batch}, sample {o.sample}")]


def _reads(net: Net, node: Node, ins: Sequence[Signal], lowest: int) -> list[Finding]:
    """Of the value that a layer reads, at the width it reads it with."""
    quantizer = ins[0].quantizer
    if quantizer is None or not float(max(x.master.abs().max() for x in ins)) > TINY:
        return []
    found = _channels(net, node, ins)
    e = net.layer(node.layer).input_exponent(lowest)
    return found + _blind(quantizer, ins, lowest, e, quantizer.name in net.entries)


def _blind(quantizer: Quantizer, ins: Sequence[Signal], lowest: int, e: int, is_input: bool) -> list[Finding]:
    """Whether nearly every value falls into the code of zero. A few dozen samples of all batches tell it."""
    alive = lost = 0
    some = _some_of_each([x.raw for x in ins])
    for x in ins:
        codes = fake.narrow_activation(x.raw[:some], quantizer.scale(), quantizer.zero, quantizer.n, lowest, e)
        there = x.master[:some].abs() > TINY
        alive += int(torch.count_nonzero(there))
        lost += int(torch.count_nonzero(there & (codes == 0)))
    part = lost / max(alive, 1)
    if part < (BLIND_WIDE if lowest >= WIDE else BLIND):
        return []
    what = f"at {lowest} bits {part:.1%} of its values other than 0 become 0"
    advice = (
        f"a few large values (range {float(quantizer.clip):.4g}) take its codes: clip them, or keep its "
        "reader at more bits"
    )
    if is_input:
        few = f"a few large values (range {float(quantizer.clip):.4g}) take its codes"
        advice = f"{few}: look for samples in another unit, broken pixels or columns, and clip or rescale them"
    return [Finding("blind", quantizer.name, what, part, advice)]


def _some_of_each(batches: Sequence[Tensor]) -> int:
    """How many samples of each batch are looked at: a few dozen together, fewer where they are large."""
    return max(1, min(OBSERVED, ELEMENTS // max(1, batches[0][0].numel())) // len(batches))


def _channels(net: Net, node: Node, ins: Sequence[Signal]) -> list[Finding]:
    """Whether channels that have hardly any codes carry what the reader needs."""
    quantizer = ins[0].quantizer
    if quantizer is None:
        return []
    axis = ins[0].raw.dim() - 1 if node.kind == "linear" else 1
    sizes = _sizes(ins, axis, offset=quantizer.name in net.entries)
    codes = sizes / quantizer.scale()
    enough = FEW_CODES * 2.0 ** (quantizer.n - 8)
    few = (codes < enough) & (sizes > 0)
    if not bool(few.any()):
        return []
    some = _some_of_each([x.raw for x in ins])
    variance = _variance([x.master[:some].transpose(axis, -1).flatten(0, -2) for x in ins])
    lost = _lost(net, node, variance, variance.clamp_max(float(quantizer.scale()) ** 2 / 12) * few)
    if lost < (LOST_INPUT if quantizer.name in net.entries else LOST_INSIDE):
        return []
    least = int(torch.where(few, codes, float("inf")).argmin())
    reader = node.layer or node.norm
    what = (
        f"channels of very different size: {int(few.sum())} of {len(codes)} use fewer than {enough:.4g} of "
        f"{1 << quantizer.n} codes (channel {least}: {float(codes[least]):.2g}), and {lost:.0%} of what {reader} reads "
        "from it is lost"
    )
    advice = "scale its channels to one size in the model: smaller gains before it, larger weights after it"
    if quantizer.name in net.entries:
        advice = (
            "let the model begin with a batch norm or (x - mean) / std by column: it becomes a part of the quantizer, "
            "in which each column has all codes"
        )
    return [Finding("channels", quantizer.name, what, lost, advice)]


def _sizes(ins: Sequence[Signal], axis: int, *, offset: bool) -> Tensor:
    """The largest magnitude of each channel, ``[channels]``; ``offset``: the span, as a column may lie far from 0."""
    rows = [x.master.flatten(2) if axis == 1 and x.raw.dim() > 2 else x.master.flatten(0, -2)[..., None] for x in ins]
    top = torch.stack([r.amax(2).amax(0) for r in rows]).amax(0)
    bottom = torch.stack([r.amin(2).amin(0) for r in rows]).amin(0)
    return top - bottom if offset else torch.maximum(top, -bottom)


def _variance(rows: Sequence[Tensor]) -> Tensor:
    """Of each channel over all rows of ``[rows, channels]``, float64 ``[channels]``."""
    count = sum(len(r) for r in rows)
    mean = torch.stack([r.sum(0, dtype=torch.float64) for r in rows]).sum(0) / count
    return torch.stack([(r.double() - mean).square().sum(0) for r in rows]).sum(0) / count


def _lost(net: Net, node: Node, variance: Tensor, noise: Tensor) -> float:
    """Part of the variance of a reader's outputs, after its norm, that ``noise``, ``[channels]``, takes.

    Rounding adds ``node^2 / 12`` to a channel, and at most it takes all of its variance.
    """
    norm = net.affine(node.norm)
    gain = 1.0 if norm is None else norm.gain_and_bias(net.config.master)[0].square()
    signal, taken = variance, noise
    if node.layer:
        weight = net.layer(node.layer).weight.double()
        energy = weight.flatten(2).square().sum(2) if weight.dim() > 2 else weight.square()  # [out, in of a group]
        groups = len(variance) // energy.shape[1]
        owner = torch.arange(len(energy), device=energy.device) // (len(energy) // groups)
        signal, taken = ((energy * v.view(groups, -1)[owner]).sum(1) for v in (variance, noise))
    total = float((signal * gain).sum())
    return float((taken * gain).sum()) / total if total > 0 else 0.0


def _join(node: Node, ins: Sequence[Sequence[Signal]], signals: Sequence[Signal]) -> list[Finding]:
    """Whether an operand of a concatenation drowns in the scale of the largest."""
    quantizer = signals[0].quantizer
    if quantizer is None:
        return []
    axis = 1 + int(node.attrs["axis"])
    parts = [torch.split(x.master, [one[0].raw.shape[axis] for one in ins], axis) for x in signals]
    size = float(quantizer.scale())
    codes = [float(max(p.max() for p in part) - min(p.min() for p in part)) / size for part in zip(*parts, strict=True)]
    least = min(range(len(codes)), key=lambda i: codes[i] or float("inf"))
    if not 0 < codes[least] < JOIN_CODES:
        return []
    what = (
        f"joins values of very different size: operand {least} ({node.ins[least]}) spans {codes[least]:.2g} of "
        f"{1 << quantizer.n} codes"
    )
    advice = "one scale serves the whole join: bring its operands to one size before it (boxes in units of the image)"
    return [Finding("join", node.out, what, codes[least], advice)]
