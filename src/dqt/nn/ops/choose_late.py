"""The decision of a controller inside of the network, or behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Choice, Run
from dqt.program.ops.choose_late import ChooseLate

if TYPE_CHECKING:
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """One choice for all layers; noise is that of the first of them."""
    layers = node.attrs["layers"]
    logits = ins[0].raw.float()
    noisy = logits if run.noise is None else logits + run.noise[:, 0]
    soft = F.softmax(noisy / (run.temperature or 1.0), dim=-1)
    hard = noisy.argmax(-1, keepdim=True)
    log_probability = F.log_softmax(logits, -1).gather(-1, hard)
    widths = torch.tensor(net.space.choices, device=hard.device)[hard]
    count = len(layers)
    spread = soft[:, None].expand(-1, count, -1)
    run.choice = Choice(layers, widths.expand(-1, count), spread, log_probability.expand(-1, count))
    return ins[0]


def _emit(e: Emission, node: Node) -> None:
    a = node.attrs
    e.append(ChooseLate(e.source(node), a["layers"], e.net.space.choices, a["first"], a["again"]))


OPERATOR = Operator(kind="choose_late", fake=_fake, emit=_emit)
