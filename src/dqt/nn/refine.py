"""The last part of ``method="best"``: the whole network at every width is pulled to the float network.

One layer alone cannot make up for what is lost in others (BRECQ, Li et al., 2021). So weights, clips, and the factors
and offsets of each width follow the gradient (straight-through where integers round) of

    sum over widths of  log(e_b + HARMLESS)  +  mean over narrow places of  log(e_b + HARMLESS)

where ``e_b`` is the squared error of the outputs at width ``b``, or of a value at a place where nothing else is alive,
relative to its variance in the float network. No labels are used: the float network says what every sample should give,
also images that are mirrored and moved a little, so that a few hundred are not learned by heart. What did not become
better stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dqt.arith.plan import uniform
from dqt.nn.adaptive import HARMLESS
from dqt.nn.batches import Batches, some_of
from dqt.nn.layers import WidthLayer
from dqt.nn.net import Net
from dqt.nn.ranges import Quantizer
from dqt.nn.run import Run, controller_widths
from dqt.nn.walk import Moments

MOST_STEPS = 600
MACS, JUDGED = 2.4e12, 6e11
"""Multiplications of forward passes at most, of all steps and of judging them: large networks get fewer steps and are
judged on fewer samples."""
MOST_SAMPLES, ELEMENTS = 32, 1 << 26
"""Samples of a step; fewer where a sample has many values."""
PASSES = 3
"""Widths of a step: the lowest, and others drawn with a weight of ``1 / (b - 1)``: low widths lose most."""
MASTER = 3.0
"""Times its weight the master width is drawn: where it seldom votes, it pays for all others."""
MOVED = 8
"""Images are moved by a side divided by this at most."""
RATE = 4e-3
"""Of Adam, in units of what moves: of the clip for weights and clips, of the deviation for offsets."""
BETAS = (0.9, 0.99)
TINY = 1e-12


def steps_for(net: Net) -> int:
    """How many steps :func:`refine` takes."""
    return max(1, min(MOST_STEPS, int(MACS / (_macs(net) * samples_for(net) * PASSES))))


def _macs(net: Net) -> int:
    return max(1, sum(layer.macs for layer in net.space.layers))


def samples_for(net: Net) -> int:
    """How many samples a step sees."""
    values = sum(math.prod(node.shape) for node in net.nodes)
    return max(1, min(MOST_SAMPLES, ELEMENTS // max(values, 1)))


def refine(
    net: Net, teacher: Net, inputs: Batches, expected: Mapping[str, Moments], advance: Callable[[], None]
) -> None:
    """Move weights, clips, factors and offsets; the network's ranges are set.

    Args:
        teacher: a copy of the network with its float weights.
        expected: of each layer of the float model, before its norm.
        advance: called after every step.
    """
    task = _Task(net, teacher, _places(net))
    moving = _moving(net, expected)
    if not moving:
        return
    tensors = [tensor for tensor, _ in moving]
    samples = int(JUDGED / (_macs(net) * 2 * len(net.config.widths)))
    judges = some_of(inputs, min(max(samples, samples_for(net)), sum(len(batch[0]) for batch in inputs)))
    before, kept = task.judged(judges), [tensor.detach().clone() for tensor in tensors]
    with torch.enable_grad():
        _descend(task, moving, inputs, advance)
    if not task.judged(judges) < before:
        for tensor, value in zip(tensors, kept, strict=True):
            tensor.data.copy_(value)


def _descend(task: _Task, moving: Sequence[tuple[Tensor, float]], inputs: Batches, advance: Callable[[], None]) -> None:
    """All steps, the rate falling by a cosine to 0."""
    samples, asked = samples_for(task.net), [tensor.requires_grad for tensor, _ in moving]
    optimizer = torch.optim.Adam([{"params": [t.requires_grad_()], "lr": size} for t, size in moving], betas=BETAS)
    steps, widths = steps_for(task.net), task.net.config.widths
    sizes = [group["lr"] for group in optimizer.param_groups]
    generator = torch.Generator().manual_seed(0)
    source = _samples(inputs, samples, generator)
    for step in range(steps):
        x = varied(next(source), generator)
        for group, size in zip(optimizer.param_groups, sizes, strict=True):
            group["lr"] = RATE * size * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad(set_to_none=True)
        targets = task.targets(x)
        for b in _widths(widths, generator):
            task.loss(x, targets, b).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        advance()
    for (tensor, _), before in zip(moving, asked, strict=True):
        tensor.grad = None
        tensor.requires_grad_(before)


def _often(widths: Sequence[int]) -> dict[int, float]:
    """How often a step has each width, about: the lowest always, the others by their weights."""
    lowest, *others = sorted(widths)
    weights = {b: (MASTER if b == others[-1] else 1.0) / (b - 1) for b in others}
    count = min(PASSES - 1, len(others))
    return {lowest: 1.0} | {b: count * weight / sum(weights.values()) for b, weight in weights.items()}


def _widths(widths: Sequence[int], generator: torch.Generator) -> list[int]:
    """Of a step."""
    (lowest, *others), (_, *often) = zip(*_often(widths).items(), strict=True)
    count = min(PASSES - 1, len(others))
    drawn = torch.multinomial(torch.tensor(often), count, generator=generator).tolist() if count else []
    return [lowest, *(others[i] for i in drawn)]


def _samples(inputs: Batches, count: int, generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
    """Random samples for ever; where batches are of different shapes, those of one batch at a time."""
    alike = len({tuple(x.shape[1:] for x in batch) for batch in inputs}) == 1
    parts = [tuple(map(torch.cat, zip(*inputs, strict=True)))] if alike else list(inputs)
    while True:
        for i in torch.randperm(len(parts), generator=generator).tolist():
            order = torch.randperm(len(parts[i][0]), generator=generator)
            whole = len(order) - len(order) % count or len(order)
            for some in torch.split(order[:whole], count) if alike else [order[:count]]:
                yield tuple(x[some.to(x.device)] for x in parts[i])


def varied(x: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Images ``[N, C, H, W]`` of a network that reads nothing else: half of them mirrored, all moved, edges repeated.

    All other inputs, and images of fewer than ``2 * MOVED`` rows or columns, stay.
    """
    if len(x) > 1 or x[0].dim() != 4 or not x[0].is_floating_point() or min(x[0].shape[2:]) < 2 * MOVED:
        return x
    (images,) = x
    count, (rows, columns) = len(images), (_moved(len(images), side, generator) for side in images.shape[2:])
    mirrored = torch.rand(count, generator=generator) < 0.5
    columns[mirrored] = columns[mirrored].flip(1)
    samples, channels = torch.arange(count)[:, None, None, None], torch.arange(images.shape[1])[:, None, None]
    return (images[samples, channels, rows[:, None, :, None], columns[:, None, None]],)


def _moved(count: int, side: int, generator: torch.Generator) -> Tensor:
    """The rows that so many moved images take theirs from, int64 ``[count, side]``."""
    most = side // MOVED
    shifts = torch.randint(-most, most + 1, (count, 1), generator=generator)
    return (torch.arange(side) + shifts).clamp(0, side - 1)


# the loss


@dataclass(frozen=True, eq=False)
class _Task:
    """The network, the float network, and the values that are compared."""

    net: Net
    teacher: Net
    places: frozenset[str]

    @torch.no_grad()
    def targets(self, x: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """What the float network gives, by value."""
        return _values(self.teacher, x, Run({}, quantized=False), self.places)

    def loss(self, x: tuple[Tensor, ...], targets: Mapping[str, Tensor], b: int) -> Tensor:
        """Of one width."""
        plan = dict(uniform(self.net.space, b).items_) | controller_widths(self.net.space)
        found = _values(self.net, x, Run(plan, batch_statistics=True), self.places)
        outputs = {output.value for output in self.net.outputs}
        logs = {name: torch.log(_error(found[name], target) + HARMLESS) for name, target in targets.items()}
        ends, inner = ([log for name, log in logs.items() if (name in outputs) is end] for end in (True, False))
        return torch.stack([torch.stack(part).mean() for part in (ends, inner) if part]).sum()

    @torch.no_grad()
    def judged(self, inputs: Batches) -> float:
        """The loss of all widths, each as often as a step has it: what the steps lower."""
        total, often = 0.0, _often(self.net.config.widths)
        for batch in inputs:
            for x in zip(*(torch.split(each, MOST_SAMPLES) for each in batch), strict=True):
                targets = self.targets(x)
                total += sum(len(x[0]) * times * float(self.loss(x, targets, b)) for b, times in often.items())
        return total


def _values(net: Net, x: tuple[Tensor, ...], run: Run, places: frozenset[str]) -> dict[str, Tensor]:
    """Some values of one pass, as their readers at the master width see them."""
    values, found = net.read(x, run), {}
    for node, dead in zip(net.nodes, net._dead, strict=True):
        if not node.controller:
            values[node.out] = net.fake_node(node, [values[name] for name in node.ins], run)
            if node.out in places:
                found[node.out] = values[node.out].master.float()
        for name in dead:
            values.pop(name, None)
    return found


def _error(found: Tensor, target: Tensor) -> Tensor:
    """The squared error relative to the variance."""
    return (found - target).square().sum() / (target - target.mean()).square().sum().clamp_min(TINY)


def _places(net: Net) -> frozenset[str]:
    """The outputs, and of each quantizer that is alone alive somewhere the last such value."""
    alive, found = set(net.inputs.names), {}
    for node, dead in zip(net.nodes, net._dead, strict=True):
        alive = (alive | {node.out}) - set(dead)
        if alive == {node.out} and net.quantizer(node) is not None:
            found[net.owners[node.out]] = node.out
    return frozenset(found.values()) | {output.value for output in net.outputs}


# what moves


def _moving(net: Net, expected: Mapping[str, Moments]) -> list[tuple[Tensor, float]]:
    """Every tensor that moves, with its size."""
    found: dict[int, tuple[Tensor, float]] = {}
    for name, layer in (
        (node.layer, net.layer(node.layer)) for node in net.nodes if node.layer and not node.controller
    ):
        deviation = float(expected[name].variance.mean().sqrt())
        for tensor, size in _of_layer(layer, deviation):
            found[id(tensor)] = tensor, size
    for quantizer in net.quantizers.values():
        if isinstance(quantizer, Quantizer) and quantizer.kind != "unit" and quantizer.name in net.owners:
            found[id(quantizer.clip)] = quantizer.clip, float(quantizer.clip.detach())
    return [*found.values()]


def _of_layer(layer: WidthLayer, deviation: float) -> Iterator[tuple[Tensor, float]]:
    if layer.learned and "weight" in layer._parameters:
        size = float(layer.clip.detach().mean())
        yield layer.weight, size
        yield layer.clip, size
    yield layer.gain, 1.0
    yield layer.correction, deviation
