"""What operators that work element by element share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from dqt.nn.graph import Step
from dqt.nn.operator import Handler
from dqt.nn.scales import ScaleSpec
from dqt.program.ops.table import Table

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission


def binary(kind: str) -> Handler:
    """What appends an operator on two values, or on a value and a constant."""

    def handler(b: Builder, node: fx.Node) -> str:
        if float(node.kwargs.get("alpha", 1)) != 1:  # type: ignore[arg-type]
            raise b.unsupported(node, "scales an operand (alpha)")
        return append_binary(b, node, kind, node.args[0], node.args[1])

    return handler


def append_binary(b: Builder, node: fx.Node, kind: str, first: Any, second: Any) -> str:
    """Append ``first (kind) second``: "add", "sub", "multiply" or "div", of which one operand may be constant."""
    constants = [b.constants.of(each) for each in (first, second)]
    if constants[0] is not None and constants[1] is None:
        return append_scale(b, node, second, first, *_affine(b, node, kind, constants[0], first=True))
    if constants[1] is not None:
        return append_scale(b, node, first, second, *_affine(b, node, kind, constants[1], first=False))
    if kind == "div":
        raise b.unsupported(node, "divides by an activation")
    return b.add(node, kind, [b.value(node, first), b.value(node, second)])


def _affine(b: Builder, node: fx.Node, kind: str, c: Tensor, *, first: bool) -> tuple[Tensor, Tensor, str]:
    """``gain * x + bias`` for a constant ``c``, and which of the two it makes."""
    c = c.double()
    one, none = torch.ones_like(c), torch.zeros_like(c)
    if kind == "multiply":
        return c, none, "gain"
    if kind == "div" and not first:
        return 1.0 / c, none, "gain"
    if kind == "add":
        return one, c, "bias"
    if kind == "sub":
        return (-one, c, "bias") if first else (one, -c, "bias")
    raise b.unsupported(node, "divides by an activation")


def append_scale(b: Builder, node: fx.Node, x: Any, constant: Any, gain: Tensor, bias: Tensor, made: str) -> str:
    """Append ``gain * x + bias``, whose shapes must be those of one number, or of one number for each channel.

    Args:
        constant: the operand that ``made``, "gain" or "bias", comes from: if the model trains it, so does the network.
    """
    value = b.value(node, x)
    shape = b.captured.shapes[value]
    whole = (1,) * (1 + len(shape) - gain.dim()) + tuple(gain.shape)
    channels = len(whole) == 1 + len(shape) and all(d == 1 for i, d in enumerate(whole) if i != 1)
    if gain.numel() > 1 and not (channels and len(shape) > 0 and whole[1] == shape[0]):
        raise b.unsupported(
            node, f"has a constant operand of shape {list(gain.shape)}; one number, or one for each channel "
            f"(dimension 1 of [N, {', '.join(str(d) for d in shape)}]), can be"
        )  # fmt: skip
    if not bool(torch.isfinite(gain).all() and torch.isfinite(bias).all()):
        raise b.unsupported(node, "has a constant operand that is not finite, or a divisor of 0")
    path = b.scale_path(node, constant)
    trained = frozenset[str]()
    if b.trains(constant):
        trained = frozenset({made})
        b.claim(node, constant)
    b.scales[path] = ScaleSpec(gain.reshape(-1), bias.reshape(-1), trained)
    return b.add(node, "affine", [value], norm=path)


def emit_table(e: Emission, step: Step, function: Callable[..., Tensor], args: Sequence[Any]) -> None:
    """Append the table of a real function: its 2^n results, as codes."""
    source, out = e.net.codes(step.ins[0]), e.net.codes(step.out)
    x = torch.arange(source.lo, source.hi + 1, dtype=torch.float64).sub(source.zero).mul(source.step)
    y = function(x, *args).numpy()
    table = np.clip(np.floor(y / out.step + 0.5) + out.zero, out.lo, out.hi).astype(np.uint8)
    e.append(Table(e.source(step), e.result(step), table))
