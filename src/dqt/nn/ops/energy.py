"""Sums of squares along dimensions, exact in integers until their one rounding: norms, variances, deviations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import fx

from dqt.arith import fixed
from dqt.nn.graph import Node
from dqt.nn.integers import Codes
from dqt.nn.moves import kept_axes, without
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.mean import Mean
from dqt.program.ops.multiply import Multiply

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

Shape = tuple[int, ...]


def _norm(b: Builder, call: fx.Node) -> str:
    """``(sum |x|^p)^(1/p)`` along dimensions; of infinity, the largest magnitude."""
    x, order = b.operand(call, call.args[0]), float(b.arg(call, 1, "ord", 2))
    axes, shape = kept_axes(b, call, b.arg(call, 2, "dim"))
    if order == 2:
        y = _table(b, call, _energy(b, call, x, axes, shape), "sqrt")
    elif math.isinf(order):
        sizes = _table(b, call, x, "abs")
        y = b.add(
            call, "max", [sizes], quantizer="same", attrs={"axes": axes, "sign": int(order > 0) * 2 - 1}, shape=shape
        )
    elif order > 0:
        powers = _table(b, call, _table(b, call, x, "abs"), "pow", order)
        total = b.add(call, "mean", [powers], attrs={"axes": axes, "divides": False}, shape=shape)
        y = _table(b, call, total, "pow", 1 / order)
    else:
        raise b.unsupported(call, f"is a norm of order {order}; it must be above 0")
    return without(b, call, y, axes, keep=bool(b.arg(call, 3, "keepdim", False)))


def _spread(b: Builder, call: fx.Node, *, root: bool) -> str:
    """A variance, or its ``root``: the mean square of what is left without the mean."""
    x = b.operand(call, call.args[0])
    axes, shape = kept_axes(b, call, b.arg(call, 1, "dim"))
    count = math.prod(b.captured.shapes[x][axis] for axis in axes)
    lost = b.arg(call, 2, "unbiased", True) if "correction" not in str(call.target) else b.arg(call, 2, "correction", 1)
    left = count - float(1 if lost is None else lost)
    if left <= 0:
        raise b.unsupported(call, f"is a variance of {count} elements, less {lost}")
    mean = b.add(call, "mean", [x], attrs={"axes": axes, "divides": True}, shape=shape)
    rest = b.add(call, "sub", [x, mean], shape=b.captured.shapes[x])
    y = _energy(b, call, rest, axes, shape, gain=1 / left)
    return without(
        b, call, _table(b, call, y, "sqrt") if root else y, axes, keep=bool(b.arg(call, 3, "keepdim", False))
    )


def _energy(b: Builder, call: fx.Node, x: str, axes: Shape, shape: Shape, gain: float = 1.0) -> str:
    return b.add(call, "energy", [x], quantizer="unsigned", attrs={"axes": axes, "gain": gain}, shape=shape)


def _table(b: Builder, call: fx.Node, x: str, function: str, *args: Any) -> str:
    attrs = {"function": function, "args": args}
    return b.add(call, "table", [x], quantizer="unsigned", attrs=attrs, shape=b.captured.shapes[x])


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """In float64 where a program is mirrored, whose sums are exact."""
    x = run.summed(ins[0].master)
    y = x.square().sum([1 + axis for axis in node.attrs["axes"]], keepdim=True) * node.attrs["gain"]
    return Signal(y, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    """Squares of ``q - zero`` as integers, and their sum, requantized."""
    source, codes, shape = e.codes(node.ins[0]), e.net.codes(node.out), e.net.shapes[node.ins[0]]
    z, most = source.zero, max(abs(source.lo - source.zero), abs(source.hi - source.zero)) ** 2
    squares = e.define(e.fresh(f"{node.out}.squares"), shape, Codes(source.scale**2, 0, -1, most))
    x = e.source(node)
    e.append(Multiply(x, x, squares, 2, -2 * z, -2 * z, 2 * z * z, 1, -1, most))  # twice the square, halved
    scale = source.scale**2 / codes.scale * node.attrs["gain"]
    shift = fixed.choose_shift(scale)
    m, c = round(scale * 2.0**shift), int(fixed.offset(0.0, codes.zero, shift))
    e.append(Mean(squares, e.result(node), node.attrs["axes"], False, m, c, shift, codes.lo, codes.hi))


OPERATOR = Operator(
    kind="energy",
    fake=_fake,
    emit=_emit,
    aten={
        **dict.fromkeys(("aten.linalg_vector_norm.default", "aten.norm.ScalarOpt_dim"), _norm),
        **dict.fromkeys(("aten.var.dim", "aten.var.correction"), partial(_spread, root=False)),
        **dict.fromkeys(("aten.std.dim", "aten.std.correction"), partial(_spread, root=True)),
    },
    own_quantizer=True,
)
