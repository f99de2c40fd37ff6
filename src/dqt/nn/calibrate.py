"""``dqt.calibrate``: ranges from data, then bias correction per width. Post-training quantization in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dqt.arith.plan import Plan, uniform
from dqt.nn import fake
from dqt.nn.errors import CalibrationError
from dqt.nn.finite import check_finite
from dqt.nn.graph import INPUT, Step, needed_for
from dqt.nn.guards import outside_inference_mode, prepared
from dqt.nn.layered import product
from dqt.nn.layers import Norm, WidthLayer
from dqt.nn.modes import evaluating
from dqt.nn.net import Net
from dqt.nn.ranges import OBSERVED, TINY, Edge, Signal
from dqt.nn.run import Run

Observer = Literal["mse", "percentile", "max"]
BINS = 2048
CANDIDATES = 64
PERCENTILE = 0.9999
MIDDLE_WIDTH = 5
"""One clip serves all widths: it is chosen at the one nearest to this."""
Batches = list[Tensor]


@outside_inference_mode
def calibrate(
    net: Net, batches: Iterable[Any], *, observer: Observer = "mse", correct_bias: bool = True, progress: bool = False
) -> Net:
    """Set every range from data and correct every layer's bias at every width. No labels, no training.

    The batches are kept in memory with the activations of the step that is being calibrated; a few hundred samples
    are enough. In training mode, a batch norm that has seen no data yet (mean 0, variance 1) gets its first statistics
    from them: the ranges of a network of random weights must be those of normalized activations, as training sees them.

    Args:
        batches: of inputs, or (inputs, labels) pairs, whose labels are not read.
        observer: how a clip is found: the least squared error, a percentile, or the largest value.
        correct_bias: make each layer's mean at each width that of the float model (Nagel et al., 2019).
        progress: show a progress bar.

    Returns:
        ``net``, changed in place.

    Raises:
        CalibrationError: no data, NaN or infinity in it, an activation that is not finite, or an unknown observer.
        InputError: a batch of the wrong shape or dtype, or ``net`` is no prepared network.
        UnsupportedError: a parameter is not finite; names it.
    """
    if observer not in get_args(Observer):
        raise CalibrationError(f"observer {observer!r}: choose one of {', '.join(get_args(Observer))}")
    net = prepared(net, "dqt.calibrate")
    check_finite(net)
    inputs = _inputs(net, batches)
    norms = [module for module in net.modules() if isinstance(module, Norm)]
    untouched = [norm for norm in norms if norm.untouched and norm.training] if net.training else []
    bar = _progress(progress, 1 + len(net.config.widths) * correct_bias)
    with evaluating(net), torch.no_grad(), bar as advance:
        for layer in _layers(net):
            layer.correction.zero_()
            layer.clip.copy_(_weight_clip(layer, observer))
        means = set_ranges(net, inputs, observer, untouched)
        advance()
        if correct_bias:
            for b in reversed(net.config.widths):
                _correct(net, inputs, means, b)
                advance()
        net.ready.fill_(True)
    return net


def _inputs(net: Net, batches: Iterable[Any]) -> Batches:
    if isinstance(batches, Tensor):
        batches = [batches]
    device = next(net.parameters()).device
    inputs = [(batch[0] if isinstance(batch, (tuple, list)) else batch) for batch in batches]
    if not inputs:
        raise CalibrationError("no calibration data: pass at least one batch of inputs (a few hundred samples)")
    for i, x in enumerate(inputs):
        net.check_input(x)
        if not bool(torch.isfinite(x).all()):
            raise CalibrationError(f"calibration batch {i} contains NaN or infinity")
    if not net.config.input_signed and min(float(x.min()) for x in inputs) < 0:
        raise CalibrationError("the input has negative values, but Config(input_signed=False) promises none")
    inputs = [x.to(device, torch.float32) for x in inputs]
    return [x.clone() if x.is_inference() else x for x in inputs]


def _layers(net: Net) -> list[WidthLayer]:
    return [module for module in net.modules() if isinstance(module, WidthLayer)]


def _progress(show: bool, total: int) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def bar() -> Any:
        if not show:
            yield lambda: None
            return
        from rich.progress import Progress

        with Progress(transient=True) as shown:
            task = shown.add_task("calibrating", total=total)
            yield lambda: shown.advance(task)

    return bar()


# ranges, and the float model's means


@torch.no_grad()
def set_ranges(
    net: Net, inputs: Batches, observer: Observer = "max", untouched: Sequence[Norm] = ()
) -> dict[str, Tensor]:
    """Run the float model and set the range of every edge, and the statistics of the norms that are ``untouched``.

    Returns:
        the mean output ``[out]`` of every layer, before its batch norm.
    """
    run = Run({}, quantized=False)
    means: dict[str, Tensor] = {}
    b = _middle(net.config.widths)

    def visit(step: Step, ins: list[list[Signal]]) -> list[Signal]:
        if step.kind == "choose":
            return ins[0]
        norm = net.norm(step.norm)
        if step.layer or norm in untouched:
            values = _before_norm(net, step, ins[0])
            if step.layer:
                means[step.layer] = _mean(values, _axis(step)).float()
            if norm is not None and norm in untouched:
                _set_statistics(norm, values)
        signals = [net.fake_step(step, list(each), run) for each in zip(*ins, strict=True)]
        if step.edge in ("relu", "unsigned", "signed"):
            _set_range(net.edge_of(step.out), [s.master for s in signals], observer, b)
        return signals

    edge = net.edge_of(INPUT)
    _set_range(edge, inputs, "max", b)
    _walk(net, [Signal(x, edge, False) for x in inputs], visit)
    return means


@torch.no_grad()
def set_controller_ranges(net: Net, inputs: Batches) -> None:
    """Set the ranges of the controller's own edges, and the statistics of a norm of its that has seen no data; the
    network keeps its own.

    Args:
        inputs: float ``[N, *input_shape]`` on the network's device, at least one batch.
    """
    own = {step.out for step in net.steps if step.controller}
    needed = needed_for(net.steps, own)
    run = Run({layer.name: (net.space.master,) * 2 for layer in net.space.layers})
    plain = Run({}, quantized=False)

    def visit(step: Step, ins: list[list[Signal]]) -> list[Signal]:
        if step.kind == "choose" or step.out not in needed:
            return ins[0]
        how = plain if step.out in own else run
        norm = net.norm(step.norm)
        if step.out in own and norm is not None and norm.untouched:
            _set_statistics(norm, _before_norm(net, step, ins[0]))
        signals = [net.fake_step(step, list(each), how) for each in zip(*ins, strict=True)]
        signals = [signal.like(signal.raw.float()) for signal in signals]  # evaluation computes in float64
        if step.out in own and step.edge in ("relu", "unsigned", "signed"):
            _set_range(net.edge_of(step.out), [s.master for s in signals], "mse", _middle(net.config.widths))
        return signals

    edge = net.edge_of(INPUT)
    _walk(net, [Signal(x, edge) for x in inputs], visit)


def _walk(net: Net, first: list[Signal], visit: Callable[[Step, list[list[Signal]]], list[Signal]]) -> None:
    """Every step on every batch before the next step: what is found at one step serves the ones after it."""
    values = {INPUT: first}
    for step, dead in zip(net.steps, net._dead, strict=True):
        values[step.out] = visit(step, [values[name] for name in step.ins])
        for name in dead:
            values.pop(name, None)


def _before_norm(net: Net, step: Step, ins: Sequence[Signal]) -> list[Tensor]:
    """The float model's values that a step's norm reads, or would read: a layer's products, or what comes in."""
    values = [x.master for x in ins]
    if not step.layer:
        return values
    layer = net.layer(step.layer)
    return [layer.apply_weight(x, layer.weight, layer.bias) for x in values]


def _set_statistics(norm: Norm, values: Sequence[Tensor]) -> None:
    """Those of all ``values``, ``[N, C, ...]`` each."""
    mean, square = _mean(values, 1), _mean((y.double().square() for y in values), 1)
    norm.set_statistics(mean, (square - mean.square()).clamp_min(0.0))


def _axis(step: Step) -> int:
    """Where a layer's output channels lie."""
    return 1 if step.kind == "conv" else -1


def _mean(values: Iterable[Tensor], axis: int) -> Tensor:
    """Mean of each channel (at ``axis``) over samples and positions, ``[channels]`` float64."""
    sums, count = [], 0
    for value in values:
        rows = value.transpose(axis, -1).flatten(0, -2)
        sums.append(rows.sum(0, dtype=torch.float64))
        count += len(rows)
    return torch.stack(sums).sum(0) / count


def _middle(widths: Sequence[int]) -> int:
    return min(widths, key=lambda b: abs(b - MIDDLE_WIDTH))


def _set_range(edge: Edge, values: Sequence[Tensor], observer: Observer, b: int) -> None:
    largest = max(float(v.abs().max()) for v in values)
    if not largest < float("inf"):
        raise CalibrationError(f"the activation {edge.name} is not finite on the calibration data")
    peaks = [float(part.abs().max()) for v in values for part in torch.split(v, OBSERVED)]
    clip = _clip(edge, values, largest, observer, b) if largest > TINY else 0.0
    edge.set_range(clip, sum(peaks) / len(peaks))


def _clip(edge: Edge, values: Sequence[Tensor], largest: float, observer: Observer, b: int) -> float:
    if observer == "max":
        return largest
    counts = sum(torch.histc(v.abs().float(), BINS, 0.0, largest).double().cpu() for v in values)
    assert isinstance(counts, Tensor)
    centres = (torch.arange(BINS, dtype=torch.float64) + 0.5) * (largest / BINS)
    if observer == "percentile":
        index = int(torch.searchsorted(counts.cumsum(0), PERCENTILE * counts.sum()))
        return float(centres[min(index, BINS - 1)])
    counts[0] = 0.0
    clips = largest * torch.linspace(1 / CANDIDATES, 1.0, CANDIDATES, dtype=torch.float64)
    errors = [float((counts * (_narrow(centres, c / edge.levels, edge, b) - centres) ** 2).sum()) for c in clips]
    return float(clips[int(torch.tensor(errors).argmin())])


def _narrow(x: Tensor, step: Tensor, edge: Edge, b: int) -> Tensor:
    return fake.narrow_activation(x, step.float(), edge.zero, edge.n, b).double() * step


def _weight_clip(layer: WidthLayer, observer: Observer) -> Tensor:
    """Per output channel, the clip of least squared error at a middle width; the largest magnitude otherwise."""
    largest = layer._largest()
    if observer != "mse" or not layer.learned:
        return largest
    b = _middle(layer.widths)
    h = getattr(layer, f"midpoint_{b}")
    best, best_error = largest, torch.full_like(largest, float("inf"))
    for share in torch.linspace(0.3, 1.0, 36).tolist():
        clip = largest * share
        step = clip / (((1 << layer.n) - 1) / 2)
        real = fake.narrow_weight(layer.weight, step, layer.n, b, h) * fake.per_channel(step, layer.weight)
        error = (real - layer.weight).square().flatten(1).sum(1)
        best = torch.where(error < best_error, clip, best)
        best_error = torch.minimum(error, best_error)
    return best


# bias correction


def _correct(net: Net, inputs: Batches, means: dict[str, Tensor], b: int) -> None:
    """Run at uniform width ``b`` and move each layer's mean to the float model's, one layer after the other."""
    plan: Plan = uniform(net.space, b)
    run = Run(dict(plan.items_) | net._controller_widths())

    def visit(step: Step, ins: list[list[Signal]]) -> list[Signal]:
        if step.controller and step.kind == "choose":
            return ins[0]
        if step.layer and b in net.layer(step.layer).widths:
            layer = net.layer(step.layer)
            xs = [x for (x,) in zip(*ins, strict=True)]
            got = _mean((product(layer, None, x, (b, b), False) for x in xs), _axis(step))
            layer.correction[layer.widths.index(b)] += means[step.layer] - got
        return [net.fake_step(step, list(each), run) for each in zip(*ins, strict=True)]

    edge = net.edge_of(INPUT)
    _walk(net, [Signal(x, edge) for x in inputs], visit)
