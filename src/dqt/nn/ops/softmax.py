"""Softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from dqt.arith import fixed
from dqt.arith.bounds import WIDE_LIMIT
from dqt.arith.powers import FRACTION_BITS, POWER_BITS, power_table, powers, probabilities, row_factor
from dqt.nn import fake
from dqt.nn.graph import Node
from dqt.nn.integers import Codes
from dqt.nn.moves import transposed
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.softmax import Softmax

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

UNIT = math.log2(math.e) * (1 << FRACTION_BITS)
"""A difference of 1 of the exponents, in units of ``2^-10`` of a power of two."""
DISTINCT = (POWER_BITS + 2) << FRACTION_BITS
"""Exponents from here on have the same power in a row of any length: 0."""


def _softmax(b: Builder, call: fx.Node) -> str:
    x = b.operand(call, call.args[0])
    axis = b.placements.axis(call, call.args[0], int(call.args[1]))  # type: ignore[arg-type]
    b.placements.put(call, b.placements.of(call.args[0]))  # type: ignore[arg-type]
    return append_softmax(b, call, x, axis)


def append_softmax(b: Builder, call: fx.Node, x: str, axis: int) -> str:
    """Append the softmax of a value along ``axis``."""
    rank = len(b.captured.shapes[x])
    order = [*(i for i in range(rank) if i != axis), axis]
    x = transposed(b, call, x, order)
    y = b.add(call, "softmax", [x], quantizer="unit", shape=b.captured.shapes[x])
    return transposed(b, call, y, [order.index(i) for i in range(rank)])


@torch.no_grad()
def _integers(x: Tensor, levels: int | Tensor) -> Tensor:
    """What the program makes of real ``x`` (docs/numerics.md, equations 25 to 29), before it saturates, float64."""
    count = x.shape[-1]
    every = torch.from_numpy(powers(np.arange(DISTINCT + 1), count, power_table())).to(x.device)
    below = (x.amax(-1, keepdim=True) - x).double().mul_(UNIT)
    t = below.add_(0.5).floor_().clamp_max_(DISTINCT).long().clamp_min_(0)  # 0: of NaN
    power = every.index_select(0, t.flatten()).reshape(t.shape)
    factor = row_factor(power.sum(-1, keepdim=True), count, levels)
    return probabilities(power, factor, count).double()


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """In evaluation through the program's integers; the gradient is that of the real softmax."""
    quantizer, x = net.quantizer(node), ins[0].master
    y = F.softmax(x, -1)
    if run.mirrors:
        levels = WIDE_LIMIT if quantizer is None else quantizer.one.long()
        scale = 1 / levels if quantizer is None else quantizer.scale().double()
        y = fake.straight_through(y.double(), _integers(x, levels) * scale)
    return Signal(y, quantizer, run.quantized)


def _emit(e: Emission, node: Node) -> None:
    source, quantizer = e.codes(node.ins[0]), e.net.quantizer(node)
    out: Any = Codes(1 / WIDE_LIMIT, 0, 0, WIDE_LIMIT) if quantizer is None else e.net.codes(node.out)
    scale = source.scale * UNIT
    shift = fixed.choose_shift(scale)
    e.append(Softmax(e.source(node), e.result(node, out), int(fixed.multiplier(scale, shift)), shift))


OPERATOR = Operator(
    kind="softmax",
    fake=_fake,
    emit=_emit,
    aten={"aten.softmax.int": _softmax},
    int32_result=True,
    int32_operands=True,
    streams=True,
)
