"""What operators that work element by element share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from dqt.nn.attention import append_mask, hides
from dqt.nn.graph import Node
from dqt.nn.moves import with_first
from dqt.nn.operator import Handler
from dqt.nn.ops.constant import add_constant
from dqt.nn.placement import Placement
from dqt.nn.scales import ScaleSpec
from dqt.program.ops.table import Table

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission


def binary(kind: str) -> Handler:
    """What appends an operator on two values, or on a value and a constant."""

    def handler(b: Builder, call: fx.Node) -> str:
        second: Any = call.args[1]
        alpha = float(call.kwargs.get("alpha", 1))  # type: ignore[arg-type]
        if alpha != 1:
            second = append_binary(b, call, "multiply", second, alpha)
        return append_binary(b, call, kind, call.args[0], second)

    return handler


def append_binary(b: Builder, call: fx.Node, kind: str, first: Any, second: Any) -> str:
    """Append ``first (kind) second``: "add", "sub", "multiply" or "div".

    Args:
        first, second: nodes of the graph, names of values, or numbers; one may be constant.
    """
    constants = [b.constants.of(each) for each in (first, second)]
    for i, c in enumerate(constants):
        if c is not None:
            return _with_constant(b, call, kind, (first, second), i)
    if kind == "div":
        return b.add(call, "multiply", [_name(b, call, first), _reciprocal(b, call, second)])
    ins = [_name(b, call, first), _name(b, call, second)]
    placed = {_beside(b, call, each) for each in (first, second) if isinstance(each, fx.Node)}
    if len(placed) > 1:
        raise b.unsupported(call, "reads two tensors whose batches stand in different dimensions, which mixes samples")
    if placed:
        b.placements.put(call, *placed)
    return b.add(call, kind, ins)


def _name(b: Builder, call: fx.Node, x: Any) -> str:
    return x if isinstance(x, str) else b.operand(call, x)


def _reciprocal(b: Builder, call: fx.Node, x: Any) -> str:
    """Append the table of ``1 / x``."""
    name = _name(b, call, x)
    attrs = {"function": "reciprocal", "args": ()}
    return b.add(call, "table", [name], shape=b.captured.shapes[name], attrs=attrs)


def _with_constant(b: Builder, call: fx.Node, kind: str, operands: tuple[Any, Any], which: int) -> str:
    """Append an operator of whose ``operands`` the one at ``which`` is constant."""
    c, x = b.constants.of(operands[which]), operands[1 - which]
    assert c is not None
    if kind == "div" and which == 0:
        return append_binary(b, call, "multiply", operands[0], _reciprocal(b, call, x))
    value = _name(b, call, x)
    whole = _whole(b, call, c, x)
    if kind == "add" and len(whole) == len(b.captured.shapes[value]) and hides(b, call, operands[which], c):
        return append_mask(b, call, value, c.float().reshape(whole).clamp_min(torch.finfo(torch.float32).min))
    axis = 0 if c.numel() == 1 else _axis(b, value, whole)
    if axis is not None and not (c.numel() > 1 and b.varies(operands[which])):
        return append_scale(b, call, x, operands[which], *_affine(kind, c.double(), first=which == 0), axis)
    if kind == "div" and b.trains(operands[which]):
        raise b.unsupported(call, "divides by a parameter that the model trains, and that differs within a channel")
    held = add_constant(b, call, operands[which], whole, change=torch.reciprocal if kind == "div" else None)
    values = [value, held]
    return b.add(call, "multiply" if kind == "div" else kind, values[:: -1 if which == 0 else 1])


def _beside(b: Builder, call: fx.Node, x: Any) -> Placement:
    """Where the batch of an operand stands among the dimensions of the result: they are aligned from the right."""
    if not isinstance(x, fx.Node):
        return b.placements.of(call)
    return b.placements.of(x).shifted(call.meta["val"].dim() - x.meta["val"].dim())


def _whole(b: Builder, call: fx.Node, c: Tensor, x: Any) -> tuple[int, ...]:
    """The shape of a constant beside the value of ``x``: it broadcasts from the right, and holds for every sample."""
    placed = _beside(b, call, x)
    b.placements.put(call, placed)
    sizes = (1,) * (call.meta["val"].dim() - c.dim()) + tuple(c.shape)
    if sizes[placed.dim] not in (1, placed.before * placed.after):
        raise b.unsupported(call, f"has a constant operand of shape {list(c.shape)}, one for each sample of a batch")
    extra = placed.extra if sizes[placed.dim] > 1 else (1,) * len(placed.extra)
    return (*sizes[: placed.dim], *extra, *sizes[placed.dim + 1 :])


def by_channel(whole: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a constant has one number for each channel: of the first dimension of ``shape``, the batch left out."""
    return len(shape) > 0 and whole == (shape[0], *(1,) * (len(shape) - 1))


def _axis(b: Builder, value: str, whole: tuple[int, ...]) -> int | None:
    """The dimension whose entries have a number each in a constant: the first, or any of an input of the network."""
    shape, axes = b.captured.shapes[value], [axis for axis, size in enumerate(whole) if size > 1]
    if by_channel(whole, shape):
        return 0
    alone = len(whole) == len(shape) and len(axes) == 1 and whole[axes[0]] == shape[axes[0]]
    return axes[0] if alone and _is_input(b, value) else None


def _is_input(b: Builder, value: str) -> bool:
    """Whether nothing but moves and multiply-adds lies between a value and an input."""
    while (node := next((each for each in b.nodes if each.out == value), None)) is not None:
        if node.kind not in ("affine", "transpose", "reshape"):
            return False
        value = node.ins[0]
    return True


def _affine(kind: str, c: Tensor, *, first: bool) -> tuple[Tensor, Tensor, str]:
    """``gain * x + bias`` for a constant ``c``, and which of the two it makes."""
    one, none = torch.ones_like(c), torch.zeros_like(c)
    if kind == "multiply":
        return c, none, "gain"
    if kind == "div":
        return 1.0 / c, none, "gain"
    if kind == "add":
        return one, c, "bias"
    return (-one, c, "bias") if first else (one, -c, "bias")


def append_scale(
    b: Builder, call: fx.Node, x: Any, constant: Any, gain: Tensor, bias: Tensor, made: str, axis: int = 0
) -> str:
    """Append ``gain * x + bias``, of one number each, or of one for each entry of ``axis``, which are channels.

    Args:
        constant: the operand that ``made``, "gain" or "bias", comes from: if the model trains it, so does the network.
    """
    if not bool(torch.isfinite(gain).all() and torch.isfinite(bias).all()):
        raise b.unsupported(call, "has a constant operand that is not finite, or a divisor of 0")
    path = b.scale_path(call, constant)
    trained = frozenset({made} if b.trains(constant) else ())
    b.use(constant, path, made)
    b.scales[path] = ScaleSpec(gain.reshape(-1), bias.reshape(-1), trained)

    def append(name: str) -> str:
        return b.add(call, "affine", [name], norm=path, shape=b.captured.shapes[name])

    return with_first(b, call, _name(b, call, x), axis, append)


def emit_table(e: Emission, node: Node, function: Callable[..., Tensor], args: Sequence[Any]) -> None:
    """Append the table of a real function: its 2^n results, as codes."""
    append_table(e, node, lambda x: function(x, *args))


def append_table(e: Emission, node: Node, function: Callable[[Tensor], Tensor]) -> None:
    """Append a table of ``function``, which gives one result for each real, or ``[C, reals]``, rows by channel."""
    source, out = e.net.codes(node.ins[0]), e.net.codes(node.out)
    x = torch.arange(source.lo, source.hi + 1, dtype=torch.float64).sub(source.zero).mul(source.scale)
    y = function(x).numpy()
    table = np.clip(np.floor(y / out.scale + 0.5) + out.zero, out.lo, out.hi).astype(np.uint8)
    e.append(Table(e.source(node), e.result(node), table[0] if len(table) == 1 else table))
