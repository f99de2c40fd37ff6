"""``dqt.calibrate``: ranges from data, then bias correction per width. Post-training quantization in seconds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dqt.nn import diagnose
from dqt.nn.batches import Batches, some_of, spread, taken
from dqt.nn.best import best, best_steps
from dqt.nn.choose_weights import choose_weights
from dqt.nn.correct import correct, like_pairs, samples_for, unlike_pairs
from dqt.nn.diagnose import Finding
from dqt.nn.equalize import equalize as equalized
from dqt.nn.errors import CalibrationError, CalibrationWarning
from dqt.nn.finite import check_finite
from dqt.nn.graph import CHOICES, Node, needed_for
from dqt.nn.guards import outside_inference_mode, prepared
from dqt.nn.layers import WidthLayer
from dqt.nn.modes import evaluating
from dqt.nn.net import Net
from dqt.nn.norms import Norm
from dqt.nn.observers import Extent, Observer
from dqt.nn.progress import advancing
from dqt.nn.ranges import OBSERVED, Signal
from dqt.nn.reading import Reading, plain_reading
from dqt.nn.run import Run, first_widths
from dqt.nn.set_range import Ranges
from dqt.nn.walk import Moments, axis_of, before_norm, float_results, moments, signals_of, walk
from dqt.nn.zeros import in_use

EQUALIZED_AS = (4, 4)
"""Channels are compared on as many samples as these widths are corrected on."""
Method = Literal["fast", "best"]
Sharing = Literal["shared", "per_width"]


def calibrate(
    net: Net,
    batches: Iterable[Any],
    *,
    method: Method = "fast",
    observer: Observer = "mse",
    ranges: Sharing = "per_width",
    correct_bias: bool = True,
    unlike_widths: bool = True,
    equalize: bool = True,
    progress: bool = False,
) -> Net:
    """Set every range from data and correct every layer's bias at every width. No labels, no training.

    The batches are kept in memory with the activations of the node that is being calibrated; a few hundred samples
    are enough. In training mode, a batch norm that has seen no data yet (mean 0, variance 1) gets its first statistics
    from them: the ranges of a network of random weights must be those of normalized activations, as training sees them.

    What the data or the model lack is warned about in words (:mod:`dqt.nn.diagnose`), and kept in ``net.findings``.

    Args:
        batches: of inputs, as a call of the network takes them; or (inputs, labels) pairs, or dicts that hold more than
            the inputs: labels are not read.
        method: ``"fast"``: ranges, then corrections, in a pass for each width. ``"best"``: beside that the rounding of
            every weight is chosen by the outputs of its layer at all widths together (:mod:`dqt.nn.best`). It takes
            several times as long, holds the activations of every width, and changes the weights by parts of a code.
        observer: how a clip is found, also the input's: the least squared error, a percentile, or the largest value.
            The first two leave outliers out: samples whose peak is many times that of nearly all others.
        ranges: ``"per_width"``: the range is that of the master, and a lower width may read a half or a quarter of it;
            ``"shared"``: one range, chosen at a middle width, serves all widths of a layer. ``"best"`` is always
            ``"per_width"``.
        correct_bias: make mean and deviation of each layer's channels at each width those of the float model (Nagel et
            al., 2019, for the mean); ``method="best"`` always does.
        unlike_widths: correct layers whose weights and activations have unlike widths, too, on 64 samples at most.
            Without it a plan that has such layers is less accurate, and a program has fewer constants: about 80 bytes a
            channel.
        equalize: where channels of very different size cost accuracy, bring them to one size: weights and batch norms
            change, the float function does not (:mod:`dqt.nn.equalize`).
        progress: show a progress bar.

    Returns:
        ``net``, changed in place.

    Raises:
        CalibrationError: no data, NaN or infinity in it, an activation that is not finite, an unknown observer, method
            or kind of ranges, or ``"best"`` with shared ranges.
        InputError: a batch of the wrong shape or dtype, or ``net`` is no prepared network.
        UnsupportedError: a parameter is not finite; names it.

    Warns:
        CalibrationWarning: where the network was calibrated and something will serve badly; each says what to do.
    """
    run_calibration(
        net, batches, method=method, observer=observer, ranges=ranges, correct_bias=correct_bias,
        unlike_widths=unlike_widths, equalize=equalize, progress=progress,
    )  # fmt: skip
    for text in diagnose.sentences(net.findings):
        warnings.warn(text, CalibrationWarning, stacklevel=2)
    return net


@outside_inference_mode
def run_calibration(
    net: Net,
    batches: Iterable[Any],
    *,
    method: Method = "fast",
    observer: Observer = "mse",
    ranges: Sharing = "per_width",
    correct_bias: bool = True,
    unlike_widths: bool = True,
    equalize: bool = False,
    training: bool = False,
    progress: bool = False,
) -> None:
    """:func:`calibrate` for a caller that has its own way to say ``net.findings``.

    Args:
        training: the network is to be trained: one range serves all its widths, as one clip is learned for them, and
            factors of channels are left to the norms.
    """
    parts = _check(method, observer, ranges) and not training
    net = prepared(net, "dqt.calibrate")
    check_finite(net)
    inputs = taken(net, batches)
    norms = [module for module in net.modules() if isinstance(module, Norm)]
    untouched = [norm for norm in norms if norm.untouched and norm.training] if net.training else []
    findings: list[Finding] = []
    whole = sum(len(batch[0]) for batch in inputs)
    correct_bias |= method == "best"
    unlike_widths &= correct_bias and not training
    pairs = (like_pairs(net) if correct_bias and method == "fast" else []) + unlike_pairs(net) * unlike_widths
    passes = {pair: samples_for(net, pair, whole) for pair in pairs}
    counts = {*passes.values(), *([whole] if method == "best" else [])}
    bar = advancing(progress, "calibrating", 1 + len(passes) + best_steps(net) * (method == "best"))
    with evaluating(net), torch.no_grad(), bar as advance:
        if equalize and not untouched:
            some = some_of(inputs, max(OBSERVED, samples_for(net, EQUALIZED_AS, whole)))
            given = _input_ranges(net, some, Ranges(net, observer), None).values()
            equalized(net, list(zip(*([signal.raw for signal in signals] for signals in given), strict=True)))
        _set_weights(net, observer, parts=parts)
        found = set_ranges(net, inputs, Ranges(net, observer, parts=parts), untouched, findings, counts)
        advance()
        if method == "best":
            best(net, inputs, found[whole], advance)
        for count, group in groupby(passes, passes.__getitem__):
            correct(net, some_of(inputs, count), found[count], [*group], advance, factors=not training)
        net.ready.fill_(True)
    net.findings = diagnose.distinct(findings)


def _check(method: Method, observer: Observer, ranges: Sharing) -> bool:
    """Whether widths may read parts of a range."""
    asked = (("observer", observer, Observer), ("method", method, Method), ("ranges", ranges, Sharing))
    for what, given, legal in asked:
        if given not in get_args(legal):
            raise CalibrationError(f"{what} {given!r}: choose one of {', '.join(get_args(legal))}")
    if method == "best" and ranges == "shared":
        raise CalibrationError(
            "ranges 'shared': method 'best' chooses ranges by width; take method 'fast', or leave it out"
        )
    return ranges == "per_width"


def _set_weights(net: Net, observer: Observer, *, parts: bool) -> None:
    """Clip, rule and exponents of every layer with weights; no correction."""
    found = in_use(net)
    for layer in (module for module in net.modules() if isinstance(module, WidthLayer)):
        layer.uncorrected()
        chosen = choose_weights(layer, found.get(layer.name, layer.widths), observer, net.config.rule, parts=parts)
        layer.clip.copy_(chosen.clip)
        layer.read_as(Reading(chosen.nearest, chosen.exponents, plain_reading(layer.widths).inputs))


# ranges, and the float model's means


@torch.no_grad()
def set_ranges(
    net: Net,
    inputs: Sequence[Any],
    ranges: Ranges,
    untouched: Sequence[Norm] = (),
    findings: list[Finding] | None = None,
    counts: Iterable[int] = (),
) -> dict[int, dict[str, Moments]]:
    """Run the float model and set the range of every quantizer, and the statistics of the norms that are ``untouched``.

    ``findings`` gets what is wrong with the values or the weights, if it is a list.

    Returns:
        for each of ``counts`` mean and variance of every layer's outputs before its batch norm, on so many samples,
        which are spread over the batches.
    """
    expected: dict[int, dict[str, Moments]] = {count: {} for count in counts}
    inputs = [net.inputs.take(x) for x in inputs]
    given = _input_ranges(net, inputs, ranges, findings)
    states = _states(net, given)

    def visit(node: Node, ins: list[list[Signal]]) -> list[Signal]:
        if node.kind in CHOICES:
            return ins[0]
        norm = net.norm(node.norm)
        values = before_norm(net, node, ins[0]) if node.layer or norm in untouched else []
        if node.layer:
            for count, each in expected.items():
                each[node.layer] = moments(spread(values, count), axis_of(node))
            ranges.read(node)
        if norm is not None and norm in untouched:
            _set_statistics(norm, values)
        signals = float_results(net, node, ins, values)
        extent = None
        if node.quantizer in ("relu", "unsigned", "signed", "unit"):
            values = [s.master for s in signals] + states.get(node.out, [])
            extent = ranges.set(node.out, values, strays=node.kind == "standardize")
            signals = _saturated(signals, extent)
        if findings is not None and not node.controller:
            seen = None if node.quantizer == "unit" else extent
            findings.extend(diagnose.of_node(net, node, ins, signals, seen))
        return signals

    walk(net, given, visit)
    return expected


def _states(net: Net, first: dict[str, list[Signal]]) -> dict[str, list[Tensor]]:
    """What inputs that are states hold, by the value whose quantizer is theirs."""
    found: dict[str, list[Tensor]] = {}
    for name in net.signature.states:
        found.setdefault(net.owners[name], []).extend(signal.raw for signal in first[name])
    return found


def _input_ranges(net: Net, inputs: Batches, ranges: Ranges, findings: list[Finding] | None) -> dict[str, list[Signal]]:
    """Set the range of every input; the inputs, batch by batch, without what that leaves out."""
    first = signals_of(net, inputs, quantized=False)
    states = _states(net, first)
    for name, signals in first.items():
        if signals[0].quantizer is not None and net.owners[name] == name:
            values = [signal.raw for signal in signals] + states.get(name, [])
            extent = ranges.set(name, values, strays=True)
            if findings is not None:
                findings.extend(diagnose.of_input(name, values, extent))
            first[name] = _saturated(signals, extent)
        elif findings is not None and name in net.floats:
            findings.extend(diagnose.of_input(name, [signal.raw for signal in signals]))
    return first


@torch.no_grad()
def set_controller_ranges(net: Net, inputs: Sequence[Any], observer: Observer = "mse") -> None:
    """Set the ranges of the controller's own quantizers, and the statistics of a norm of its that has seen no data; the
    network keeps its own.

    Args:
        inputs: batches as a call of the network takes them, on its device, at least one.
        observer: as in :func:`calibrate`.
    """
    own = {node.out for node in net.nodes if node.controller}
    needed = needed_for(net.nodes, own)
    run = Run({layer.name: (net.space.master,) * 2 for layer in net.space.layers})
    if net.late is not None:
        run = Run(first_widths(net.space, net.late.first))
    plain, ranges = Run({}, quantized=False), Ranges(net, observer)

    def visit(node: Node, ins: list[list[Signal]]) -> list[Signal]:
        if node.kind in CHOICES or node.out not in needed:
            return ins[0]
        how = plain if node.out in own else run
        norm = net.norm(node.norm)
        if node.out in own and norm is not None and norm.untouched:
            _set_statistics(norm, before_norm(net, node, ins[0]))
        signals = [net.fake_node(node, list(each), how) for each in zip(*ins, strict=True)]
        signals = [signal.like(signal.raw.float()) for signal in signals]  # evaluation computes in float64
        if node.out in own and node.quantizer in ("relu", "unsigned", "signed"):
            ranges.set(node.out, [s.master for s in signals])
        return signals

    walk(net, signals_of(net, [net.inputs.take(x) for x in inputs]), visit)


def _set_statistics(norm: Norm, values: Sequence[Tensor]) -> None:
    """Those of all ``values``, ``[N, C, ...]`` each."""
    found = moments(values, 1)
    norm.set_statistics(found.mean, found.variance)


def _saturated(signals: Sequence[Signal], extent: Extent) -> list[Signal]:
    """Without the outliers, as they will be served: what comes after must see ranges and means of that."""
    if extent.outlier is None or extent.kept:
        return list(signals)
    quantizer = signals[0].quantizer
    low = 0.0 if quantizer is not None and quantizer.zero == 0 else -extent.top
    return [signal.like(signal.raw.clamp(low, extent.top)) for signal in signals]
