"""Plain int8 quantization as other libraries have it, simulated in float32 where a prepared network has its quantizers.

Activations are asymmetric by tensor, from the smallest and the largest value of the calibration data; weights are
symmetric by output channel, from the largest magnitude; biases stay float, and nothing is corrected.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dqt.nn.graph import Node
from dqt.nn.layers import WidthLayer
from dqt.nn.net import Net
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

CODES = 255
"""Steps between the smallest and the largest code."""


@dataclass
class _Range:
    """The smallest and the largest value so far, with 0."""

    low: float = 0.0
    high: float = 0.0

    def see(self, x: Tensor) -> Tensor:
        """Widen to ``x``; it stays."""
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        return x

    def rounded(self, x: Tensor) -> Tensor:
        """``x`` as its codes stand for it."""
        scale = max((self.high - self.low) / CODES, 1e-20)
        zero = round(-self.low / scale)
        return ((x / scale).round() + zero).clamp(0, CODES).sub(zero).mul(scale)


@torch.no_grad()
def plain_int8(net: Net, batches: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """What a prepared network (of one input and output) computes when it is quantized so, as a function of inputs."""
    net = copy.deepcopy(net).eval()
    owners = {net.owners[name] for name in (*net.inputs.names, *(node.out for node in net.nodes))}
    ranges = {owner: _Range() for owner in owners if owner not in net._int32 and owner not in net.floats}
    for x in batches:
        _run(net, x, {name: each.see for name, each in ranges.items()})
    for layer in (module for module in net.modules() if isinstance(module, WidthLayer)):
        rows = layer.weight.flatten(1)
        scale = (rows.abs().amax(1, keepdim=True) / (CODES // 2)).clamp_min(1e-20)
        layer.weight.copy_(((rows / scale).round() * scale).reshape(layer.weight.shape))
    return lambda x: _run(net, x, {name: each.rounded for name, each in ranges.items()})


@torch.no_grad()
def _run(net: Net, x: Tensor, through: dict[str, Callable[[Tensor], Tensor]]) -> Tensor:
    """The float network, whose quantized values go through a function each, by the owner of their quantizer."""
    run = Run({}, quantized=False)
    values = {name: _through(net, name, signal, through) for name, signal in net.read(x, run).items()}
    for node in net.nodes:
        signal = net.fake_node(node, [values[name] for name in node.ins], run)
        values[node.out] = _through(net, node.out, signal, through) if _is_rounded(node) else signal
    (output,) = net.outputs
    return values[output.value].master.float()


def _is_rounded(node: Node) -> bool:
    """Whether a node's result gets codes of its own."""
    return node.quantizer in ("relu", "unsigned", "signed", "unit")


def _through(net: Net, name: str, signal: Signal, through: dict[str, Callable[[Tensor], Tensor]]) -> Signal:
    found = through.get(net.owners[name])
    return signal if found is None else signal.like(found(signal.master))
