"""Layers that carry a width: their capture, their differentiable form, and the constants of their instructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, fx

from dqt.arith.plan import Pair
from dqt.nn import fake
from dqt.nn.graph import Node
from dqt.nn.hooks import is_hooked
from dqt.nn.integers import as_lowered
from dqt.nn.layers import WidthLayer
from dqt.nn.norms import Norm
from dqt.nn.ranges import Quantizer, Signal
from dqt.nn.run import Run, by_width
from dqt.nn.scales import Scale

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.net import Net


def add_layer(
    b: Builder,
    call: fx.Node,
    kind: str,
    x: str,
    attrs: dict[str, Any],
    turned: Callable[[Tensor], Tensor] = lambda weight: weight,
    operands: tuple[Any, Any] | None = None,
    **fields: Any,
) -> str:
    """Append the node of a layer that reads ``x``.

    Args:
        turned: the model's weight -> ``[out, in / groups, ...]``.
        operands: weight and bias; default: arguments 1 and 2.
        fields: others of the node.
    """
    given, bias = operands or (call.args[1], b.arg(call, 2, "bias"))
    name, weight = b.tensor(call, given)
    bias_name, bias_value = (None, None) if bias is None else b.tensor(call, bias, "bias")
    path = b.path(name)
    b.captured.layers[path] = (turned(weight), bias_value)
    b.note_frozen(path, weight=name, bias=bias_name)
    b.use(given, path, "weight")
    b.use(bias, path, "bias")
    return b.add(call, kind, [x], path, layer=path, attrs=attrs, **fields)


def fake_layer(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """A layer at its widths, by sample where a controller chose them."""
    layer, norm = net.layer(node.layer), net.affine(node.norm)
    (x,) = ins
    hooked = is_hooked(layer) or (norm is not None and is_hooked(norm))
    if not run.quantized:
        raw = _hooked_product(layer, norm, x, None, False) if hooked else _float_product(layer, norm, x)
        return Signal(raw, net.quantizer(node), False)

    def at(signal: Signal, pair: Pair, share: float) -> Tensor:
        if hooked:
            return _hooked_product(layer, norm, signal, pair, run.batch_statistics, share)
        return product(layer, norm, signal, pair, run.batch_statistics, share, net.quantizer(node))

    column = run.choice.of(node.layer) if run.choice else None
    if run.choice is None or column is None:
        return Signal(at(x, run.widths[node.layer], 1.0), net.quantizer(node))
    raw = by_width(run.choice.widths[:, column], x.raw, lambda rows, b, share: at(x.like(rows), (b, b), share))
    if run.choice.soft.requires_grad:
        soft = run.choice.soft[:, column]
        raw = fake.carry_choice(raw, soft.gather(1, soft.argmax(1, keepdim=True)).squeeze(1))
    return Signal(raw, net.quantizer(node))


def product(
    layer: WidthLayer,
    norm: Norm | Scale | None,
    x: Signal,
    pair: Pair,
    batch_statistics: bool,
    share: float = 1.0,
    quantizer: Quantizer | None = None,
) -> Tensor:
    """A layer at widths ``pair`` and the batch norm that follows it: real values, before the quantizer.

    In evaluation the product is of integers, so in float32 it is the program's accumulator itself; what follows is
    float64 with the program's multiplier, so that the two almost never round apart. In training both operands are real
    and float32, which saves passes over memory. ``quantizer``: where the result goes.
    """
    bw, ba = pair
    if batch_statistics:
        weight, size = layer.narrowed(bw), layer.scale() * layer.gain_at(pair)
        x_real = x.real(ba, layer.input_exponent(ba))
        y = layer.apply_weight(x_real, weight * fake.per_channel(size, weight), layer.offset(pair))
        return y if norm is None else norm(y, b=min(pair), share=share, batch_statistics=y.numel() > y.shape[1])
    return scaled(layer, norm, accumulator(layer, x, pair), x, pair, quantizer)


def accumulator(layer: WidthLayer, x: Signal, pair: Pair) -> Tensor:
    """The product of integers at widths ``pair``, in master units: integers in float32."""
    bw, ba = pair
    return layer.apply_weight(x.codes(ba, layer.input_exponent(ba)).float(), layer.narrowed(bw), None)


def scaled(
    layer: WidthLayer, norm: Norm | Scale | None, acc: Tensor, x: Signal, pair: Pair, quantizer: Quantizer | None = None
) -> Tensor:
    """What a layer and its norm make of the accumulator ``acc``, by the constants of widths ``pair``; float64."""
    scale, bias = constants(layer, norm, x, pair, quantizer)
    return acc.double() * by_channel(layer, scale, acc) + by_channel(layer, bias, acc)


def constants(
    layer: WidthLayer, norm: Norm | Scale | None, x: Signal, pair: Pair, quantizer: Quantizer | None = None
) -> tuple[Tensor, Tensor]:
    """What multiplies accumulators at widths ``pair``, and what is then added; float64 ``[out]``."""
    gain, bias = layer.gain_and_bias(norm, pair)
    scale = layer.scale().double() * x.scale.double() * gain
    if quantizer is not None and not torch.compiler.is_compiling():  # 1e-5 of a node: not worth a break in the graph
        largest = (layer.scale().double() * x.scale.double() * layer.gains(norm)).abs().amax()
        scale, bias = as_lowered(scale, bias, largest, quantizer)
    return scale, bias


def by_channel(layer: WidthLayer, values: Tensor, like: Tensor) -> Tensor:
    """``[out]`` shaped to broadcast over results of a layer."""
    return values.reshape(-1, *(1 for _ in range(like.dim() - 2))) if layer.weight.dim() > 2 else values


def _float_product(layer: WidthLayer, norm: Norm | Scale | None, x: Signal) -> Tensor:
    y = layer.apply_weight(x.master, layer.weight, layer.bias)
    return y if norm is None else norm(y, b=layer.n)


def _hooked_product(
    layer: WidthLayer,
    norm: Norm | Scale | None,
    x: Signal,
    pair: Pair | None,
    batch_statistics: bool,
    share: float = 1.0,
) -> Tensor:
    """:func:`product` (``pair`` ``None``: of the float model) through calls of the modules, so that their hooks run.

    Hooks get float32 real values, as in the user's model, and may change them. In evaluation the layer and its norm
    are two roundings here and one in :func:`product`: results differ in the last bits of a float32.
    """
    given = (x.master if pair is None else x.real(pair[1], layer.input_exponent(pair[1]))).float()

    def own(real: Tensor) -> Tensor:
        signal = x if real is given else x.like(real)  # a hook gave another input
        if pair is None:
            return layer.apply_weight(signal.master, layer.weight, layer.bias)
        return product(layer, None, signal, pair, batch_statistics, share).float()

    y: Tensor = layer(given, product=own)
    if norm is None:
        return y
    width = layer.n if pair is None else min(pair)
    return cast("Tensor", norm(y, b=width, share=share, batch_statistics=batch_statistics and y.numel() > y.shape[1]))
