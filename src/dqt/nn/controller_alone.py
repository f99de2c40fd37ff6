"""The controller by itself: what it reads, what it answers, and which parameters are its own.

It can so be trained on features that were computed once, without a pass through the network for each node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dqt.nn.graph import needed_for
from dqt.nn.net import CONTROLLER, Net, quantizer_key
from dqt.nn.ranges import Signal
from dqt.nn.run import Run, controller_widths, edge_widths, first_widths

PREFIXES = (CONTROLLER, f"quantizers.{quantizer_key(CONTROLLER)}")
"""How the names of the controller's parameters and buffers begin."""


@torch.no_grad()
def controller_features(net: Net, x: Any) -> Tensor:
    """What the controller's first layer reads, float32 ``[N, features]``, in evaluation and without gradient."""
    first = next(node for node in net.nodes if node.controller and node.layer)
    run = Run(edge_widths(net.space) if net.late is None else first_widths(net.space, net.late.first))
    needed = needed_for(net.nodes, first.ins)
    values = net.read(x, run)
    for node in net.nodes:
        if node.out in needed:
            values[node.out] = net.fake_node(node, [values[name] for name in node.ins], run)
    return values[first.ins[0]].master.float()


def controller_logits(net: Net, features: Tensor, training: bool = False) -> Tensor:
    """The controller on its features, differentiable, float32 ``[N, chosen layers, choices]``; of one that decides late
    ``[N, 1, choices]``.

    Args:
        features: of :func:`controller_features`.   training: its norm takes, and follows, the batch's statistics.
    """
    layers = [node for node in net.nodes if node.controller and node.layer]
    run = Run(controller_widths(net.space), batch_statistics=training)
    signal = Signal(features, net.quantizer_of(layers[0].ins[0]))
    for node in layers:
        signal = net.fake_node(node, [signal], run)
    return signal.raw.float().reshape(len(features), -1, len(net.space.choices))


def controller_parameters(net: Net) -> Iterator[nn.Parameter]:
    """The controller's own weights, norm and clips."""
    return (p for name, p in net.named_parameters() if name.startswith(PREFIXES))
