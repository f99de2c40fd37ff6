"""The larger and the smaller of two values, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from dqt.nn.chain import Chain
from dqt.nn.graph import Node
from dqt.nn.moves import reshaped, taken
from dqt.nn.operator import Operator
from dqt.nn.ops.constant import add_constant
from dqt.nn.ops.table import clamp_between
from dqt.nn.ranges import Signal
from dqt.nn.rescaling import append_rescale, negated
from dqt.nn.run import Run
from dqt.program.ops.concat import Concat
from dqt.program.ops.max import Max

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

Shape = tuple[int, ...]


def _extreme(b: Builder, call: fx.Node, *, sign: int) -> str:
    """The larger (``sign`` 1) or the smaller (-1) of two operands; with one number, a clamp."""
    numbers = [b.constants.of(each) for each in call.args[:2]]
    for i, number in enumerate(numbers):
        if number is not None and number.numel() == 1:
            bounds = (float(number), None) if sign > 0 else (None, float(number))
            return clamp_between(b, call, call.args[1 - i], *bounds)
    shape = b.shape(call)
    operands = [_operand(b, call, arg, shape) for arg in call.args[:2]]
    return b.add(call, "maximum", operands, attrs={"sign": sign})


def _operand(b: Builder, call: fx.Node, arg: Any, shape: Shape) -> str:
    """An operand as large as the result; a constant is one for all samples."""
    constant = b.constants.of(arg)
    if constant is None:
        x = b.value(call, arg)
    else:
        own = tuple(constant.shape[max(0, constant.dim() - len(shape)) :])
        x = add_constant(b, call, arg, (1,) * (len(shape) - len(own)) + own)
    own = b.captured.shapes[x]
    x = reshaped(b, call, x, (1,) * (len(shape) - len(own)) + own)
    for axis, length in enumerate(shape):
        if b.captured.shapes[x][axis] != length:
            x = taken(b, call, x, axis, [0] * length)
    return x


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    a, b = (x.master for x in ins)
    raw = torch.maximum(a, b) if node.attrs["sign"] > 0 else torch.minimum(a, b)
    return Signal(raw, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    """Both in the codes of the result, joined along a dimension of their own. The smaller is the larger, negated."""
    codes, sign, shape = e.net.codes(node.out), node.attrs["sign"], node.shape
    held = codes if sign > 0 else negated(codes)
    rows = []
    for i, name in enumerate(node.ins):
        part = e.define(e.fresh(f"{node.out}.{i}"), shape, held)
        append_rescale(e, e.names[name], e.codes(name), part, held, float(sign))
        rows.append(Chain(shape).reshape(1, *shape).emit(e, part, e.fresh(f"{node.out}.row{i}")))
    both = e.define(e.fresh(f"{node.out}.both"), (2, *shape), held)
    e.append(Concat(tuple(rows), both, 0))
    largest = e.define(e.fresh(f"{node.out}.largest"), (1, *shape), held)
    e.append(Max(both, largest, (0,)))
    out = node.out if sign > 0 else e.fresh(f"{node.out}.negated")
    e.names[node.out] = Chain((1, *shape)).reshape(*shape).emit(e, largest, out)
    if sign < 0:
        append_rescale(e, out, held, e.result(node), codes, -1.0)


OPERATOR = Operator(
    kind="maximum",
    fake=_fake,
    emit=_emit,
    aten={
        **dict.fromkeys(("aten.maximum.default", "aten.max.other", "aten.fmax.default"), partial(_extreme, sign=1)),
        **dict.fromkeys(("aten.minimum.default", "aten.min.other", "aten.fmin.default"), partial(_extreme, sign=-1)),
    },
    own_quantizer=True,
    keeps_sign=True,
)
