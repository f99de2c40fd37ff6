"""Matrix product of two activations, and attention, which is two of them with a softmax between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from dqt.arith import fixed
from dqt.arith.bounds import FLOAT32_EXACT
from dqt.arith.plan import Pair
from dqt.nn import fake
from dqt.nn.attention import attention, multiply_activations
from dqt.nn.graph import Node
from dqt.nn.integers import as_lowered, rounding
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run, by_width
from dqt.program.ops.mat_mul import MatMul

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _bmm(b: Builder, call: fx.Node) -> str:
    return multiply_activations(b, call, *call.args[:2])


def _product(a: Signal, b: Signal, pair: Pair, run: Run) -> Tensor:
    """Real values at widths ``pair``; where the program is mirrored, its accumulator itself."""
    if not run.quantized:
        return a.master @ b.master
    if run.batch_statistics:
        return a.real(pair[0]) @ b.real(pair[1])
    first, second = (x.codes(width) for x, width in zip((a, b), pair, strict=True))
    if run.rough:
        return (first.float() @ second.float()).mul_(a.scale * b.scale)
    exact = first.shape[-1] << 16 < FLOAT32_EXACT  # of 8 bits by 8
    acc = first.float() @ second.float() if exact else first.double() @ second.double()
    return acc.double() * (a.scale.double() * b.scale.double())


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """At its widths, by sample where a controller chose them."""
    (a, b), factor = ins, _factor(net, node, ins, run)
    column = run.choice.of(node.product) if run.choice else None
    if run.choice is None or column is None:
        pair = run.widths[node.product] if run.quantized else (net.space.master,) * 2
        return Signal(_product(a, b, pair, run) * factor, net.quantizer(node), run.quantized)

    def at(rows: Tensor, width: int, _: float) -> Tensor:
        return _product(a.like(a.raw[rows]), b.like(b.raw[rows]), (width, width), run)

    chosen = run.choice.widths[:, column]
    raw = by_width(chosen, torch.arange(len(chosen), device=chosen.device), at) * factor
    if run.choice.soft.requires_grad:
        soft = run.choice.soft[:, column]
        raw = fake.carry_choice(raw, soft.gather(1, soft.argmax(1, keepdim=True)).squeeze(1))
    return Signal(raw, net.quantizer(node), run.quantized)


def _factor(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> float | Tensor:
    """What the product is multiplied by; where a program is mirrored, such as its multiplier makes of it."""
    factor, quantizer = float(node.attrs["scale"]), net.quantizer(node)
    if quantizer is None or not run.mirrors or torch.compiler.is_compiling():
        return factor
    unit = ins[0].scale.double() * ins[1].scale.double()
    scale = (unit * factor).reshape(1)
    found, _ = as_lowered(scale, torch.zeros_like(scale), scale.abs().amax(), quantizer)
    return found / unit


def _emit(e: Emission, node: Node) -> None:
    a, b = (e.codes(name) for name in node.ins)
    depth, factor = e.net.shapes[node.ins[0]][-1], float(node.attrs["scale"])
    out = e.result_codes(node, depth * e.reach(node) * e.reach(node, 1) * abs(factor))
    scale = a.scale * b.scale * factor / out.scale
    shift = fixed.choose_shift(scale)
    one = np.array([scale])
    m, c = (int(each[0]) for each in rounding(one, 0 * one, shift, out, coded=e.net.quantizer(node) is not None))
    operands = e.source(node), e.source(node, 1)
    e.append(MatMul(node.product, *operands, e.result(node, out), m, c, shift, out.lo, out.hi))


def _attention(b: Builder, call: fx.Node) -> str:
    args: list[Any] = [*call.args[:3]]
    options = ((3, "attn_mask", None), (5, "is_causal", False), (6, "scale", None), (7, "enable_gqa", False))
    mask, causal, scale, grouped = (b.arg(call, *option) for option in options)
    return attention(b, call, args, mask, causal=bool(causal), scale=scale, grouped=bool(grouped))


OPERATOR = Operator(
    kind="mat_mul",
    fake=_fake,
    emit=_emit,
    aten={"aten.bmm.default": _bmm, "aten.scaled_dot_product_attention.default": _attention},
    own_quantizer=True,
    int32_result=True,
)
