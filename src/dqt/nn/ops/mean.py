"""Sums and means over dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import fx

from dqt.arith import fixed
from dqt.nn.graph import Node
from dqt.nn.integers import Codes
from dqt.nn.moves import kept_axes, without
from dqt.nn.operator import Handler, Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.mean import Mean

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _reduced(*, divides: bool) -> Handler:
    """What appends a mean (``divides``) or a sum. The mean of an image is the operator that pools images."""

    def handler(b: Builder, call: fx.Node) -> str:
        x = b.operand(call, call.args[0])
        axes, shape = kept_axes(b, call, b.arg(call, 1, "dim"))
        if divides and len(shape) in (2, 3) and axes == tuple(range(1, len(shape))):
            y = b.add(call, "avg_pool", [x], attrs={"adaptive": shape[1:]}, shape=shape)
        else:
            y = b.add(call, "mean", [x], attrs={"axes": axes, "divides": divides}, shape=shape)
        return without(b, call, y, axes, keep=bool(b.arg(call, 2, "keepdim", False)))

    return handler


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """In float64 where a program is mirrored, whose sums are exact."""
    x, dims = run.summed(ins[0].master), [1 + axis for axis in node.attrs["axes"]]
    y = x.mean(dims, keepdim=True) if node.attrs["divides"] else x.sum(dims, keepdim=True)
    return Signal(y, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    axes, divides = node.attrs["axes"], node.attrs["divides"]
    shape = e.net.shapes[node.ins[0]]
    area = math.prod(shape[axis] for axis in axes)
    codes = e.result_codes(node, e.reach(node) * (1 if divides else area))
    append_mean(e, node, codes, axes, divides=divides)


def append_mean(e: Emission, node: Node, codes: Codes, axes: tuple[int, ...], *, divides: bool) -> None:
    """Append the instruction. Its shift does not depend on how many elements become one, which sizes may change."""
    scale = e.codes(node.ins[0]).scale / codes.scale
    shift = fixed.choose_shift(scale)
    m, c = round(scale * 2.0**shift), int(fixed.offset(0.0, codes.zero, shift))
    e.append(Mean(e.source(node), e.result(node, codes), axes, divides, m, c, shift, codes.lo, codes.hi))


OPERATOR = Operator(
    kind="mean",
    fake=_fake,
    emit=_emit,
    aten={"aten.mean.dim": _reduced(divides=True), "aten.sum.dim_IntList": _reduced(divides=False)},
    own_quantizer=True,
    int32_result=True,
    keeps_sign=True,
)
