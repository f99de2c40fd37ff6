"""Cross-layer equalization: channels of very different size become alike, and the float function stays as it is.

One scale serves all channels of an activation, so a channel that is a hundred times smaller than the largest has hardly
any codes. Its producer's rows (or its batch norm's) are divided by a factor and its readers' columns multiplied by it
(Nagel et al., 2019; Xiao et al., 2023); :mod:`dqt.nn.channels` says which channels allow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dqt.nn.channels import Channels, scalable
from dqt.nn.graph import Node
from dqt.nn.layers import WidthLayer
from dqt.nn.net import Net
from dqt.nn.norms import Norm
from dqt.nn.ranges import OBSERVED, TINY
from dqt.nn.run import Run
from dqt.nn.scales import Scale

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
"""How much of the imbalance goes from the activation into the weights that read it: the best of these."""
GAIN = 0.7
"""Factors are applied where they leave at most this part of the rounding noise: healthy networks stay as they are."""
REACH = 1e4
"""The largest factor, and the inverse of the smallest."""


@dataclass
class Reader:
    """A layer that reads scalable channels, and what it read on the data.

    Attributes:
        ids: int64 ``[in]``, the number of each of its input channels.
        square, peak: float64 ``[in]``, sums of mean squares by sample, and of the peaks of groups of samples.
    """

    node: Node
    layer: WidthLayer
    ids: Tensor
    square: Tensor
    peak: Tensor
    samples: int = 0
    groups: int = 0

    def see(self, x: Tensor) -> None:
        """Add a batch of the values that it reads."""
        axis = -1 if self.node.kind == "linear" else 1
        rows = x.movedim(axis, 1).reshape(len(x), x.shape[axis], -1)
        parts = torch.split(rows, OBSERVED)
        self.square += rows.square().mean(2).sum(0, dtype=torch.float64)
        self.peak += torch.stack([part.abs().amax((0, 2)).double() for part in parts]).sum(0)
        self.samples, self.groups = self.samples + len(x), self.groups + len(parts)

    def columns(self, values: Tensor) -> Tensor:
        """Values of its input channels, ``[in]`` -> of its weights, ``[out, in / groups]``."""
        out, width = self.layer.weight.shape[:2]
        parts = len(values) // width
        return values.view(parts, 1, width).expand(parts, out // parts, width).reshape(out, width)

    def noise(self, factors: Tensor) -> float:
        """What rounding adds to its outputs, relative to these: one scale for what it reads, and one for each row.

        The scale of a weight is twice that of an activation that is never negative, at the same range.
        """
        s = factors[self.ids]
        energy, largest = self._weights
        square, peak, grown = self.square / self.samples, self.peak / self.groups, self.columns(s)
        from_x = (peak / s).amax().square() * (energy * grown.square()).sum()
        rows = (2 * largest * grown).amax(1).square()
        taps = self.layer.weight[0, 0].numel()
        from_weights = rows @ self.columns(square / s.square()).sum(1) * taps
        return float((from_x + from_weights) / (energy * self.columns(square)).sum().clamp_min(TINY))

    @cached_property
    def _weights(self) -> tuple[Tensor, Tensor]:
        """Sum of squares and largest magnitude of the taps of each weight, ``[out, in / groups]`` float64."""
        taps = self.layer.weight.flatten(2) if self.layer.weight.dim() > 2 else self.layer.weight[..., None]
        return taps.double().square().sum(2), taps.abs().amax(2).double()

    @property
    def largest(self) -> Tensor:
        """The largest magnitude of the taps of each weight, ``[out, in / groups]`` float64."""
        return self._weights[1]

    def forget(self) -> None:
        """Let go of what is computed of its weights, four times their size; asked for again, it is computed again."""
        self.__dict__.pop("_weights", None)

    def scale(self, factors: Tensor) -> None:
        """Multiply its columns."""
        by = self.columns(factors[self.ids])
        self.layer.weight.mul_(by.reshape(*by.shape, *(1 for _ in self.layer.weight.shape[2:])))


@torch.no_grad()
def equalize(net: Net, batches: Iterable[Sequence[Tensor]]) -> list[str]:
    """Equalize channels where rounding noise falls by it, on ``batches`` of inputs; the float function stays.

    Returns:
        the values that were scaled.
    """
    channels = scalable(net)
    readers = _readers(net, channels)
    if not readers:
        return []
    by_value = {reader.node.ins[0]: [r for r in readers if r.node.ins[0] == reader.node.ins[0]] for reader in readers}
    for batch in batches:
        _look(net, batch, by_value)
    factors, scaled = torch.ones(channels.count, dtype=torch.float64, device=net.ready.device), []
    for value, ids in channels.sources.items():
        found = _best(factors, ids[channels.free(ids)].to(factors.device), readers)
        if found is not None:
            factors = found
            scaled.append(value)
    nodes = {node.out: node for node in net.nodes}
    for value in scaled:
        _divide(net, nodes[value], factors[channels.sources[value].to(factors.device)])
    for reader in readers:
        reader.scale(factors)
    return scaled


def _readers(net: Net, channels: Channels) -> list[Reader]:
    device, found = net.ready.device, []
    for node in net.nodes:
        ids = channels.readers.get(node.out)
        if ids is not None and bool(channels.free(ids).any()):
            empty = torch.zeros(len(ids), dtype=torch.float64, device=device)
            found.append(Reader(node, net.layer(node.layer), ids.to(device), empty, empty.clone()))
    return found


def _look(net: Net, batch: Sequence[Tensor], readers: dict[str, list[Reader]]) -> None:
    """One batch through the float model."""
    run = Run({}, quantized=False)
    values = net.read(tuple(batch), run)
    for node, dead in zip(net.nodes, net._dead, strict=True):
        if not node.controller:
            values[node.out] = net.fake_node(node, [values[name] for name in node.ins], run)
            for reader in readers.get(node.out, ()):
                reader.see(values[node.out].master)
        for name in dead:
            values.pop(name, None)


def _best(factors: Tensor, ids: Tensor, readers: Sequence[Reader]) -> Tensor | None:
    """``factors`` with those of least noise for the numbers ``ids``; ``None`` where they do not pay."""
    concerned = [reader for reader in readers if bool(torch.isin(reader.ids, ids).any())]
    if not len(ids) or not concerned:
        return None
    peak, weight = _sizes(len(factors), concerned)
    before = sum(reader.noise(factors) for reader in concerned)
    best, least = None, GAIN * before
    for strength in STRENGTHS:
        trial = factors.clone()
        trial[ids] = _factors(peak[ids], weight[ids], strength)
        noise = sum(reader.noise(trial) for reader in concerned)
        if noise < least:
            best, least = trial, noise
    for reader in concerned:
        reader.forget()
    return best


def _sizes(count: int, readers: Sequence[Reader]) -> tuple[Tensor, Tensor]:
    """The largest activation, and weight that reads it, of every number; float64 ``[count]`` each."""
    peak = torch.zeros(count, dtype=torch.float64, device=readers[0].peak.device)
    weight = peak.clone()
    for reader in readers:
        largest = reader.largest
        width = largest.shape[1]
        parts = len(reader.ids) // width
        by_input = largest.view(parts, -1, width).amax(1).reshape(-1)
        peak.scatter_reduce_(0, reader.ids, reader.peak / reader.groups, "amax")
        weight.scatter_reduce_(0, reader.ids, by_input, "amax")
    return peak, weight


def _factors(peak: Tensor, weight: Tensor, strength: float) -> Tensor:
    """``peak^strength / weight^(1 - strength)``, around 1; 1 where a channel is dead."""
    alive = (peak > TINY) & (weight > TINY)
    raw = torch.where(alive, peak.clamp_min(TINY) ** strength / weight.clamp_min(TINY) ** (1 - strength), 1.0)
    middle = raw[alive].median() if bool(alive.any()) else raw.new_ones(())
    return torch.where(alive, (raw / middle).clamp(1 / REACH, REACH), 1.0)


def _divide(net: Net, node: Node, by: Tensor) -> None:
    """Divide the channels of a producer."""
    affine = net.affine(node.norm)
    if isinstance(affine, Norm):
        for each in affine.sets:
            each.weight.div_(by)
            each.bias.div_(by)
    elif isinstance(affine, Scale):
        affine.gain.div_(by)
        affine.bias.div_(by)
    elif node.by_feature:
        for part in net.row_affine(node.attrs["module"]):
            if part is not None:
                part.div_(by)
    else:
        layer = net.layer(node.layer)
        layer.weight.div_(by.reshape(-1, *(1 for _ in layer.weight.shape[1:])))
        if layer.bias is not None:
            layer.bias.div_(by)
