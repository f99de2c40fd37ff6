"""``dqt.calibrate``: ranges from data, then bias correction per width. Post-training quantization in seconds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import torch
from rich.progress import Progress
from torch import Tensor

from dqt.arith.plan import Plan, uniform
from dqt.nn import diagnose
from dqt.nn.batches import Batches, taken
from dqt.nn.diagnose import Finding
from dqt.nn.equalize import equalize as equalized
from dqt.nn.errors import CalibrationError, CalibrationWarning
from dqt.nn.finite import check_finite
from dqt.nn.graph import Node, needed_for
from dqt.nn.guards import outside_inference_mode, prepared
from dqt.nn.hooks import is_hooked
from dqt.nn.inputs import Input
from dqt.nn.layered import product
from dqt.nn.layers import Norm, WidthLayer
from dqt.nn.modes import evaluating
from dqt.nn.net import Net
from dqt.nn.observers import Extent, Observer, clip_of, extent_of, middle, weight_clip
from dqt.nn.ranges import Quantizer, Signal
from dqt.nn.run import Run, controller_widths


def calibrate(
    net: Net,
    batches: Iterable[Any],
    *,
    observer: Observer = "mse",
    correct_bias: bool = True,
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
        observer: how a clip is found, also the input's: the least squared error, a percentile, or the largest value.
            The first two leave outliers out: samples whose peak is many times that of nearly all others.
        correct_bias: make each layer's mean at each width that of the float model (Nagel et al., 2019).
        equalize: where channels of very different size cost accuracy, bring them to one size: weights and batch norms
            change, the float function does not (:mod:`dqt.nn.equalize`).
        progress: show a progress bar.

    Returns:
        ``net``, changed in place.

    Raises:
        CalibrationError: no data, NaN or infinity in it, an activation that is not finite, or an unknown observer.
        InputError: a batch of the wrong shape or dtype, or ``net`` is no prepared network.
        UnsupportedError: a parameter is not finite; names it.

    Warns:
        CalibrationWarning: where the network was calibrated and something will serve badly; each says what to do.
    """
    run_calibration(net, batches, observer=observer, correct_bias=correct_bias, equalize=equalize, progress=progress)
    for text in diagnose.sentences(net.findings):
        warnings.warn(text, CalibrationWarning, stacklevel=2)
    return net


@outside_inference_mode
def run_calibration(
    net: Net,
    batches: Iterable[Any],
    *,
    observer: Observer = "mse",
    correct_bias: bool = True,
    equalize: bool = False,
    progress: bool = False,
) -> None:
    """:func:`calibrate` for a caller that has its own way to say ``net.findings``."""
    if observer not in get_args(Observer):
        raise CalibrationError(f"observer {observer!r}: choose one of {', '.join(get_args(Observer))}")
    net = prepared(net, "dqt.calibrate")
    check_finite(net)
    inputs = taken(net, batches)
    norms = [module for module in net.modules() if isinstance(module, Norm)]
    untouched = [norm for norm in norms if norm.untouched and norm.training] if net.training else []
    findings: list[Finding] = []
    bar = _progress(progress, 1 + len(net.config.widths) * correct_bias)
    with evaluating(net), torch.no_grad(), bar as advance:
        if equalize and not untouched:
            first = _input_ranges(net, inputs, observer, None).values()
            equalized(net, list(zip(*([signal.raw for signal in signals] for signals in first), strict=True)))
        for layer in _layers(net):
            layer.correction.zero_()
            layer.clip.copy_(weight_clip(layer, observer))
        means = set_ranges(net, inputs, observer, untouched, findings)
        advance()
        if correct_bias:
            for b in reversed(net.config.widths):
                _correct(net, inputs, means, b)
                advance()
        net.ready.fill_(True)
    net.findings = diagnose.distinct(findings)


def _layers(net: Net) -> list[WidthLayer]:
    return [module for module in net.modules() if isinstance(module, WidthLayer)]


@contextmanager
def _progress(show: bool, total: int) -> Iterator[Callable[[], None]]:
    if not show:
        yield lambda: None
        return
    with Progress(transient=True) as shown:
        task = shown.add_task("calibrating", total=total)
        yield lambda: shown.advance(task)


# ranges, and the float model's means


@torch.no_grad()
def set_ranges(
    net: Net,
    inputs: Sequence[Any],
    observer: Observer = "max",
    untouched: Sequence[Norm] = (),
    findings: list[Finding] | None = None,
) -> dict[str, Tensor]:
    """Run the float model and set the range of every quantizer, and the statistics of the norms that are ``untouched``.

    ``findings`` gets what is wrong with the values or the weights, if it is a list.

    Returns:
        the mean output ``[out]`` of every layer, before its batch norm.
    """
    means: dict[str, Tensor] = {}
    b, inputs = middle(net.config.widths), [net.inputs.take(x) for x in inputs]
    first = _input_ranges(net, inputs, observer, findings)
    states = _states(net, first)

    def visit(node: Node, ins: list[list[Signal]]) -> list[Signal]:
        if node.kind == "choose":
            return ins[0]
        norm = net.norm(node.norm)
        values = _before_norm(net, node, ins[0]) if node.layer or norm in untouched else []
        if node.layer:
            means[node.layer] = _mean(values, _axis(node)).float()
        if norm is not None and norm in untouched:
            _set_statistics(norm, values)
        signals = _results(net, node, ins, values)
        extent = None
        if node.quantizer in ("relu", "unsigned", "signed"):
            values = [s.master for s in signals] + states.get(node.out, [])
            enters = node.kind == "standardize"
            width = net.space.edge_width if enters else b
            extent = _set_range(net.quantizer_of(node.out), values, observer, width, strays=enters)
            signals = _saturated(signals, extent)
        if findings is not None and not node.controller:
            findings.extend(diagnose.of_node(net, node, ins, signals, extent))
        return signals

    _walk(net, first, visit)
    return means


def _states(net: Net, first: dict[str, list[Signal]]) -> dict[str, list[Tensor]]:
    """What inputs that are states hold, by the value whose quantizer is theirs."""
    found: dict[str, list[Tensor]] = {}
    for name in net.signature.states:
        found.setdefault(net.owners[name], []).extend(signal.raw for signal in first[name])
    return found


def _input_ranges(
    net: Net, inputs: Batches, observer: Observer, findings: list[Finding] | None
) -> dict[str, list[Signal]]:
    """Set the range of every input; the inputs, batch by batch, without what that leaves out."""
    first = _signals(net, inputs, quantized=False)
    states = _states(net, first)
    for name, signals in first.items():
        if signals[0].quantizer is not None and net.owners[name] == name:
            values = [signal.raw for signal in signals] + states.get(name, [])
            extent = _set_range(signals[0].quantizer, values, observer, net.space.edge_width, strays=True)
            if findings is not None:
                findings.extend(diagnose.of_input(name, values, extent))
            first[name] = _saturated(signals, extent)
        elif findings is not None and name in net.floats:
            findings.extend(diagnose.of_input(name, [signal.raw for signal in signals]))
    return first


def _signals(net: Net, inputs: Batches, *, quantized: bool = True) -> dict[str, list[Signal]]:
    """Every input, batch by batch."""
    columns = zip(net.inputs.each, zip(*inputs, strict=True), strict=True)
    read = {one.name for one in net.inputs.each if one.kind == "float"} - net.floats
    quantizers = {one.name: net.quantizer_of(one.name) for one in net.inputs.each if one.name in read}
    return {one.name: [Signal(_typed(one, x), quantizers.get(one.name), quantized) for x in xs] for one, xs in columns}


def _typed(one: Input, x: Tensor) -> Tensor:
    return x.float() if one.kind == "float" else x


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
    plain = Run({}, quantized=False)

    def visit(node: Node, ins: list[list[Signal]]) -> list[Signal]:
        if node.kind == "choose" or node.out not in needed:
            return ins[0]
        how = plain if node.out in own else run
        norm = net.norm(node.norm)
        if node.out in own and norm is not None and norm.untouched:
            _set_statistics(norm, _before_norm(net, node, ins[0]))
        signals = [net.fake_node(node, list(each), how) for each in zip(*ins, strict=True)]
        signals = [signal.like(signal.raw.float()) for signal in signals]  # evaluation computes in float64
        if node.out in own and node.quantizer in ("relu", "unsigned", "signed"):
            _set_range(net.quantizer_of(node.out), [s.master for s in signals], observer, middle(net.config.widths))
        return signals

    _walk(net, _signals(net, [net.inputs.take(x) for x in inputs]), visit)


def _walk(net: Net, values: dict[str, list[Signal]], visit: Callable[[Node, list[list[Signal]]], list[Signal]]) -> None:
    """Every node on every batch before the next node: what is found at one node serves the ones after it.

    ``values``: the inputs; the others come to it while they are needed.
    """
    for node, dead in zip(net.nodes, net._dead, strict=True):
        values[node.out] = visit(node, [values[name] for name in node.ins])
        for name in dead:
            values.pop(name, None)


def _results(net: Net, node: Node, ins: list[list[Signal]], values: list[Tensor]) -> list[Signal]:
    """What a node of the float model gives. ``values``: of :func:`_before_norm`, which a layer needs not compute again.

    Hooks see what passes only where the modules are called.
    """
    norm = net.affine(node.norm)
    if not node.layer or any(is_hooked(each) for each in (net.layer(node.layer), norm) if each is not None):
        run = Run({}, quantized=False)
        return [net.fake_node(node, list(each), run) for each in zip(*ins, strict=True)]
    normed = values if norm is None else [norm(value, b=net.config.master) for value in values]
    return [Signal(node.clamped(value), net.quantizer(node), False) for value in normed]


def _before_norm(net: Net, node: Node, ins: Sequence[Signal]) -> list[Tensor]:
    """The float model's values that a node's norm reads, or would read: a layer's products, or what comes in."""
    values = [x.master for x in ins]
    if node.kind == "standardize":
        return [x.raw.float().movedim(1 + node.attrs["axis"], 1) for x in ins]
    if not node.layer:
        return values
    layer = net.layer(node.layer)
    return [layer.apply_weight(x, layer.weight, layer.bias) for x in values]


def _set_statistics(norm: Norm, values: Sequence[Tensor]) -> None:
    """Those of all ``values``, ``[N, C, ...]`` each."""
    mean, square = _mean(values, 1), _mean((y.double().square() for y in values), 1)
    norm.set_statistics(mean, (square - mean.square()).clamp_min(0.0))


def _axis(node: Node) -> int:
    """Where a layer's output channels lie."""
    return -1 if node.kind == "linear" else 1


def _mean(values: Iterable[Tensor], axis: int) -> Tensor:
    """Mean of each channel (at ``axis``) over samples and positions, ``[channels]`` float64."""
    sums, count = [], 0
    for value in values:
        rows = value.transpose(axis, -1).flatten(0, -2)
        sums.append(rows.sum(0, dtype=torch.float64))
        count += len(rows)
    return torch.stack(sums).sum(0) / count


def _set_range(
    quantizer: Quantizer, values: Sequence[Tensor], observer: Observer, b: int, *, strays: bool = False
) -> Extent:
    extent = extent_of(values, observer, strays=strays)
    if not extent.largest < float("inf"):
        raise CalibrationError(f"the activation {quantizer.name} is not finite on the calibration data")
    quantizer.set_range(clip_of(quantizer, values, extent, observer, b), extent.peak)
    return extent


def _saturated(signals: Sequence[Signal], extent: Extent) -> list[Signal]:
    """Without the outliers, as they will be served: what comes after must see ranges and means of that."""
    if extent.outlier is None or extent.kept:
        return list(signals)
    return [signal.like(signal.raw.clamp(-extent.top, extent.top)) for signal in signals]


# bias correction


def _correct(net: Net, inputs: Batches, means: dict[str, Tensor], b: int) -> None:
    """Run at uniform width ``b`` and move each layer's mean to the float model's, one layer after the other."""
    plan: Plan = uniform(net.space, b)
    run = Run(dict(plan.items_) | controller_widths(net.space))

    def visit(node: Node, ins: list[list[Signal]]) -> list[Signal]:
        if node.controller and node.kind == "choose":
            return ins[0]
        if node.layer and b in net.layer(node.layer).widths:
            layer = net.layer(node.layer)
            xs = [x for (x,) in zip(*ins, strict=True)]
            got = _mean((product(layer, None, x, (b, b), False) for x in xs), _axis(node))
            layer.correction[layer.widths.index(b)] += means[node.layer] - got
        return [net.fake_node(node, list(each), run) for each in zip(*ins, strict=True)]

    _walk(net, _signals(net, inputs), visit)
