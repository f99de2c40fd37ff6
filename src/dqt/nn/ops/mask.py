"""A constant mask: scores that a softmax must not see become so small that their share is 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dqt.arith.affine import add_constants
from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.add import Add
from dqt.program.ops.constant import Constant

if TYPE_CHECKING:
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

FAR = 24.0
"""``exp(-FAR)`` is less than half of the smallest share that a softmax of integers has."""


def _values(net: Net, node: Node, like: Tensor) -> Tensor:
    """As long as what it is added to, along named dimensions."""
    value = net.held(node.attrs["path"]).to(like.dtype)
    return value[tuple(map(slice, like.shape[-value.dim() :]))]


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw = ins[0].master
    return Signal(raw + _values(net, node, raw), net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    """Values far below all scores become as small as they need to be: twice the largest score and ``FAR`` less."""
    a, largest = e.codes(node.ins[0]), e.reach(node)
    mask = e.net.held(node.attrs["path"]).detach().cpu().double()
    lowest = -(2 * largest + FAR)
    top = max(float(mask.max()), 0.0)
    out = e.result_codes(node, largest + max(top, -max(float(mask.min()), lowest)))
    data = (mask.clamp_min(lowest) / out.scale).round().to(torch.int32).numpy()
    constant = e.fresh(f"{node.out}.mask")
    e.define(constant, tuple(map(min, data.shape, node.shape[-data.ndim :])), out)
    e.append(Constant(constant, data.clip(out.lo, out.hi).astype(np.int32), node.attrs.get("dims", ())))
    c = add_constants(a.scale, a.zero, out.scale, 0, out.scale, out.zero)
    e.append(Add(e.source(node), constant, e.result(node, out), c.k1, c.k2, c.k3, c.shift, out.lo, out.hi))


OPERATOR = Operator(kind="mask", fake=_fake, emit=_emit, int32_result=True, int32_operands=True)
