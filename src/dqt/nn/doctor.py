"""``dqt.doctor``: what a model becomes, what it will lose and where, and what to do, before any training."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from dqt.arith.cost import cost
from dqt.arith.plan import Plan, resolve
from dqt.nn.batches import Batches, taken
from dqt.nn.calibrate import run_calibration
from dqt.nn.config import Config
from dqt.nn.diagnosis import Diagnosis, LayerFinding, OutputFinding
from dqt.nn.errors import Obstacle, UnsupportedError
from dqt.nn.graph import Node
from dqt.nn.guards import outside_inference_mode
from dqt.nn.modes import evaluating
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.progress import advancing
from dqt.nn.ranges import Signal
from dqt.nn.run import Run, controller_widths
from dqt.program.planned import accumulator_bits

AT_ONCE = 16
"""Samples that pass together: a float pass and a pass of each width keep their values at the same time."""
MEASURED = 128
"""Samples that errors are measured on; all that are given set the ranges."""


@outside_inference_mode
def doctor(
    model: nn.Module,
    example_inputs: Any = None,
    batches: Iterable[Any] | None = None,
    config: Config | None = None,
    *,
    dims: Mapping[Any, Any] | None = None,
    state: Mapping[str, str] | None = None,
    progress: bool = False,
) -> Diagnosis:
    """Look at a model before any training: whether it goes through, what it loses at each width, and where.

    Args:
        model: as :func:`dqt.prepare` takes it, and left as it is; or a calibrated network.
        example_inputs, config, dims, state: as for :func:`dqt.prepare`; not needed for a network.
        batches: as for :func:`dqt.calibrate`; without them the example stands for the data. All set the ranges, and
            errors are measured on the first ``MEASURED`` samples.
        progress: show a progress bar.

    Returns:
        the report: ``print`` it, or read its records (:class:`~dqt.nn.diagnosis.Diagnosis`). A model that cannot become
        integers is a report, too: of every obstacle.

    Raises:
        InputError: ``model`` is no module, or a batch has a wrong shape or dtype.
        CalibrationError: no data, or NaN or infinity in it.
    """
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            given = isinstance(model, Net)
            net = _own(cast("Net", model)) if given else prepare(model, example_inputs, config, dims=dims, state=state)
        except UnsupportedError as error:
            return Diagnosis(error.obstacles or (Obstacle(str(error)),))
    data = [example_inputs] if batches is None else batches
    inputs = taken(net, data)
    if not net.calibrated:
        run_calibration(net, inputs, equalize=True, progress=progress)
    said = tuple(dict.fromkeys(str(each.message) for each in heard))
    return _examined(net, _few(inputs), said, data=batches is not None, progress=progress)


def _own(net: Net) -> Net:
    """``net``, which calibration would change if it had no ranges yet: then a copy."""
    return net if net.calibrated else copy.deepcopy(net)


def _examined(net: Net, batches: Batches, said: tuple[str, ...], *, data: bool, progress: bool) -> Diagnosis:
    widths = tuple(reversed(net.space.widths))
    with evaluating(net), torch.no_grad(), advancing(progress, "comparing with float", 2 * len(batches)) as advance:
        alone = _LayerErrors(net, widths)
        for batch in batches:
            alone.see(batch)
            advance()
        whole = _OutputErrors(net, widths)
        with net.frozen():
            for batch in batches:
                whole.see(batch)
                advance()
    bits, edges = accumulator_bits(net.program()), {each.name for each in net.space.layers if each.edge}
    layers = tuple(
        LayerFinding(each.name, each.macs, each.weights, each.name in edges, bits[each.name], alone.of(each.name))
        for each in net.space.layers
    )
    costs = {b: cost(net, b) for b in widths}
    samples = sum(len(batch[0]) for batch in batches)
    return Diagnosis((), said, net.summary(), samples, data, layers, whole.found(), costs, net.findings)


def _few(batches: Batches) -> Batches:
    """The first ``MEASURED`` samples, ``AT_ONCE`` at a time."""
    found: list[tuple[Tensor, ...]] = []
    left = MEASURED
    for batch in batches:
        some = tuple(x[:left] for x in batch)
        found += list(zip(*(torch.split(x, AT_ONCE) for x in some), strict=True))
        left -= len(some[0])
        if not left:
            break
    return found


class _Error:
    """Sums of a difference and of what it is a difference from."""

    def __init__(self) -> None:
        self.noise = self.signal = self.square = 0.0
        self.count = 0

    def add(self, got: Tensor, want: Tensor) -> None:
        want = want.double()
        self.noise += float((got.double() - want).square().sum())
        self.signal, self.square = self.signal + float(want.sum()), self.square + float(want.square().sum())
        self.count += want.numel()

    @property
    def part(self) -> float:
        """Root mean square of the difference over the deviation of the values; over their size where all are one."""
        deviation = self.square - self.signal**2 / self.count
        reference = deviation if deviation > 1e-12 * self.square else self.square
        return (self.noise / reference) ** 0.5 if reference > 0 else 0.0


class _LayerErrors:
    """What each layer alone adds, on the values of the float model."""

    def __init__(self, net: Net, widths: Sequence[int]) -> None:
        self.net, self.widths = net, widths
        self.found: dict[str, dict[int, _Error]] = {}
        self.runs = {b: Run(_widths_of(net, b)) for b in widths}

    def of(self, layer: str) -> dict[int, float]:
        return {b: error.part for b, error in self.found[layer].items()}

    def see(self, batch: tuple[Tensor, ...]) -> None:
        """One batch, node by node: no value lives longer than its readers need it."""
        net, plain = self.net, Run({}, quantized=False)
        values = net.read(batch, plain)
        for node, dead in zip(net.nodes, net._dead, strict=True):
            if not node.controller:
                ins = [values[name] for name in node.ins]
                values[node.out] = net.fake_node(node, ins, plain)
                if node.layer or node.product:
                    self._compare(node, ins, values[node.out])
            for name in dead:
                values.pop(name, None)

    def _compare(self, node: Node, ins: Sequence[Signal], want: Signal) -> None:
        errors = self.found.setdefault(node.layer or node.product, {b: _Error() for b in self.widths})
        for b, run in self.runs.items():
            got = self.net.fake_node(node, [Signal(x.raw, x.quantizer) for x in ins], run)
            errors[b].add(got.master, want.master)


class _OutputErrors:
    """The integer program at each uniform width against the float model."""

    def __init__(self, net: Net, widths: Sequence[int]) -> None:
        self.net, self.widths = net, widths
        self.errors = [{b: _Error() for b in widths} for _ in net.outputs]
        self.same = [dict.fromkeys(widths, 0) for _ in net.outputs]
        self.samples = 0

    def see(self, batch: tuple[Tensor, ...]) -> None:
        float_outputs = self.net.run(batch, Run({}, quantized=False), False)
        self.samples += len(batch[0])
        for b in self.widths:
            outputs = self.net.tensors(batch, b, exact=True)
            for i, (got, want) in enumerate(zip(outputs, float_outputs, strict=True)):
                self.errors[i][b].add(got, want)
                if _scores(want):
                    self.same[i][b] += int((got.argmax(1) == want.argmax(1)).sum())

    def found(self) -> tuple[OutputFinding, ...]:
        net, made = self.net, []
        for i, output in enumerate(net.outputs):
            shape = net.shapes[output.value]
            integer = "int32" if net.owners[output.value] in net._int32 else "codes"
            scores = len(shape) == 1 and shape[0] > 1
            agreement = {b: count / self.samples for b, count in self.same[i].items()} if scores else {}
            errors = {b: error.part for b, error in self.errors[i].items()}
            made.append(OutputFinding(output.name, shape, integer, errors, agreement))
        return tuple(made)


def _scores(output: Tensor) -> bool:
    return output.dim() == 2 and output.shape[1] > 1


def _widths_of(net: Net, b: int) -> dict[str, Any]:
    """Every layer at width ``b``, those at the edges too, to see what each would lose."""
    plan = resolve(net.space, {layer.name: b for layer in net.space.layers})
    assert isinstance(plan, Plan)
    return dict(plan.items_) | controller_widths(net.space)
