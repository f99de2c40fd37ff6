"""Integers of another scale as codes: of inputs that are integers, and of int32 outputs that are read as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dqt.nn.graph import Node
from dqt.nn.integers import rescale
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.rescale import Rescale

if TYPE_CHECKING:
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw = ins[0].master
    return Signal(raw if raw.is_floating_point() else raw.float(), net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    k = rescale(e.codes(node.ins[0]), e.net.codes(node.out), np.ones(1), np.zeros(1))
    e.append(Rescale(e.source(node), e.result(node), k.m, k.c, k.shift, k.lo, k.hi))


OPERATOR = Operator(kind="requantize", fake=_fake, emit=_emit, own_quantizer=True, keeps_sign=True)
