"""ATen's operators as steps. One table, ``ATEN``: an operator is one entry, and a handler of a few lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import fx

from dqt.nn.capture import Builder, Handler, NormSpec
from dqt.nn.graph import Step

OWN_EDGE = {"conv", "linear", "add", "multiply", "concat", "avg_pool", "affine"}
"""Kinds whose result becomes codes of an edge of its own, so that a ReLU can be that edge's clamp."""


def _pair(value: Any, count: int = 2) -> tuple[int, ...]:
    values = [value] * count if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * count if len(values) == 1 else values))


# layers that carry a width


def _layer(b: Builder, node: fx.Node, kind: str, x: str, attrs: dict[str, Any]) -> str:
    name, weight = b.tensor(node, node.args[1])
    bias = b.arg(node, 2, "bias")
    bias_name, bias_value = (None, None) if bias is None else b.tensor(node, bias)
    path = b.path(name)
    b.captured.layers[path] = (weight, bias_value)
    b.note_frozen(path, weight=name, bias=bias_name)
    return b.add(node, kind, [x], path, layer=path, attrs=attrs)


def _conv(b: Builder, node: fx.Node) -> str:
    weight = b.tensor(node, node.args[1])[1]
    dims = weight.dim() - 2
    stride = _pair(b.arg(node, 3, "stride", 1), dims)
    dilation = _pair(b.arg(node, 5, "dilation", 1), dims)
    padding = _padding(b.arg(node, 4, "padding", 0), tuple(weight.shape[2:]), dilation)
    x = b.value(node, node.args[0])
    before = b.producer(node, node.args[0])
    if before is not None and before.kind == "pad" and _spatial_only(before):
        pads = zip(before.attrs["before"][1:], before.attrs["after"][1:], strict=True)
        padding = tuple(p + q for p, q in zip(padding, (v for pair in pads for v in pair), strict=True))
        b.captured.steps.remove(before)
        x = before.ins[0]
    groups = int(b.arg(node, 6, "groups", 1))
    return _layer(b, node, "conv", x, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})


def _spatial_only(pad: Step) -> bool:
    return pad.attrs["before"][0] == 0 and pad.attrs["after"][0] == 0


def _padding(value: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    if value == "valid":
        return (0,) * (2 * len(kernel))
    if value == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple(v for total in totals for v in (total // 2, total - total // 2))
    return tuple(v for p in _pair(value, len(kernel)) for v in (p, p))


def _linear(b: Builder, node: fx.Node) -> str:
    return _layer(b, node, "linear", b.value(node, node.args[0]), {})


def _batch_norm(b: Builder, node: fx.Node) -> str:
    weight, bias, mean, var, batch_statistics, momentum, eps = (node.args[i] for i in range(1, 8))
    if mean is None or var is None or batch_statistics:
        raise b.unsupported(node, "uses no running statistics, so it has no fixed arithmetic at inference")
    name, mean_value = b.tensor(node, mean)
    (w_name, w), (v_name, v) = (b.tensor(node, p) if p is not None else (None, None) for p in (weight, bias))
    path = b.path(name)
    b.note_frozen(path, weight=w_name, bias=v_name)
    spec = NormSpec(w, v, mean_value, b.tensor(node, var)[1], float(momentum), float(eps))  # type: ignore[arg-type]
    b.captured.norms[path] = spec
    before = b.producer(node, node.args[0])
    if before is not None and before.layer and not before.norm and before.edge == "signed" and _channels_match(before):
        return b.update(before, norm=path)
    return b.add(node, "affine", [b.value(node, node.args[0])], path, norm=path)


def _channels_match(step: Step) -> bool:
    """Batch norm works on dimension 1; a linear layer's channels are last."""
    return step.kind == "conv" or len(step.shape) == 1


# activations


def _relu(b: Builder, node: fx.Node, cap: float = math.inf) -> str:
    before = b.producer(node, node.args[0])
    if before is not None and before.kind in OWN_EDGE and before.edge == "signed":
        return b.update(before, edge="relu", cap=cap)
    attrs = {"function": "identity", "args": ()}
    return b.add(node, "table", [b.value(node, node.args[0])], edge="relu", cap=cap, attrs=attrs)


def _hardtanh(b: Builder, node: fx.Node) -> str:
    low, high = (float(b.arg(node, i, key, d)) for i, key, d in ((1, "min_val", -1.0), (2, "max_val", 1.0)))
    if low == 0 and high > 0:
        return _relu(b, node, high)
    attrs = {"function": "hardtanh", "args": (low, high)}
    return b.add(node, "table", [b.value(node, node.args[0])], attrs=attrs)


def _table(function: str) -> Handler:
    def handler(b: Builder, node: fx.Node) -> str:
        values = [*node.args[1:], *node.kwargs.values()]
        edge = "unsigned" if function in ("sigmoid", "hardsigmoid") else "signed"
        attrs = {"function": function, "args": tuple(v for v in values if v is not None)}
        return b.add(node, "table", [b.value(node, node.args[0])], edge=edge, attrs=attrs)

    return handler


# elementwise


def _binary(kind: str) -> Handler:
    def handler(b: Builder, node: fx.Node) -> str:
        if float(node.kwargs.get("alpha", 1)) != 1:  # type: ignore[arg-type]
            raise b.unsupported(node, "scales an operand (alpha)")
        return b.add(node, kind, [b.value(node, node.args[0]), b.value(node, node.args[1])])

    return handler


def _concat(b: Builder, node: fx.Node) -> str:
    operands: Sequence[Any] = node.args[0]  # type: ignore[assignment]
    axis = int(b.arg(node, 1, "dim", 0)) % len(node.meta["val"].shape)
    if axis == 0:
        raise b.unsupported(node, "joins along the batch")
    return b.add(node, "concat", [b.value(node, operand) for operand in operands], attrs={"axis": axis - 1})


# pools


def _max_pool(b: Builder, node: fx.Node) -> str:
    dims = len(b.shape(node)) - 1
    kernel = _pair(node.args[1], dims)
    attrs = {
        "kernel": kernel,
        "stride": _pair(b.arg(node, 2, "stride") or kernel, dims),
        "padding": _pair(b.arg(node, 3, "padding", 0), dims),
        "dilation": _pair(b.arg(node, 4, "dilation", 1), dims),
        "ceil": bool(b.arg(node, 5, "ceil_mode", False)),
    }
    return b.keep(node, "max_pool", **attrs)


def _avg_pool(b: Builder, node: fx.Node) -> str:
    dims = len(b.shape(node)) - 1
    kernel = _pair(node.args[1], dims)
    attrs = {
        "kernel": kernel,
        "stride": _pair(b.arg(node, 2, "stride") or kernel, dims),
        "padding": _pair(b.arg(node, 3, "padding", 0), dims),
        "ceil": bool(b.arg(node, 4, "ceil_mode", False)),
        "count_padding": bool(b.arg(node, 5, "count_include_pad", True)),
        "divisor": b.arg(node, 6, "divisor_override"),
    }
    return b.add(node, "avg_pool", [b.value(node, node.args[0])], attrs=attrs)


def _adaptive_pool(b: Builder, node: fx.Node) -> str:
    return b.add(node, "avg_pool", [b.value(node, node.args[0])], attrs={"adaptive": b.shape(node)[1:]})


def _mean(b: Builder, node: fx.Node) -> str:
    x = b.value(node, node.args[0])
    shape = b.captured.shapes[x]
    axes: Any = b.arg(node, 1, "dim")
    rank = len(shape) + 1
    dims = {int(d) % rank for d in ([axes] if isinstance(axes, int) else axes or [])}
    if rank < 3 or dims != set(range(2, rank)):
        raise b.unsupported(node, f"averages over dimensions {sorted(dims)}; only all the spatial ones can be")
    pooled = b.add(node, "avg_pool", [x], attrs={"adaptive": (1,) * (rank - 2)}, shape=(shape[0], *(1,) * (rank - 2)))
    if b.arg(node, 2, "keepdim", False):
        return pooled
    return b.add(node, "reshape", [pooled], edge="same")


# shapes


def _reshape(b: Builder, node: fx.Node) -> str:
    x = b.value(node, node.args[0])
    return x if b.shape(node) == b.captured.shapes[x] else b.keep(node, "reshape")


def _slice(b: Builder, node: fx.Node) -> str:
    x = b.value(node, node.args[0])
    shape = b.captured.shapes[x]
    dim = int(b.arg(node, 1, "dim", 0)) % (len(shape) + 1)
    start, stop, step = b.arg(node, 2, "start"), b.arg(node, 3, "end"), int(b.arg(node, 4, "step", 1))
    if dim == 0:
        if start in (None, 0) and step == 1 and stop in (None, 2**63 - 1):
            return x
        raise b.unsupported(node, "slices the batch")
    first, last, _ = slice(start, stop).indices(shape[dim - 1])
    if (first, last, step) == (0, shape[dim - 1], 1):
        return x
    starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[dim - 1], stops[dim - 1], steps[dim - 1] = first, last, step
    return b.keep(node, "slice", starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))


def _pad(b: Builder, node: fx.Node) -> str:
    shape = b.captured.shapes[b.value(node, node.args[0])]
    mode, value = b.arg(node, 2, "mode", "constant"), b.arg(node, 3, "value", 0)
    if str(node.target) == "aten.constant_pad_nd.default":
        mode, value = "constant", b.arg(node, 2, "value", 0)
    given: Any = node.args[1]
    amounts = [int(v) for v in given]
    zeros = mode == "constant" and value in (None, 0, 0.0)
    if not zeros or min(amounts, default=0) < 0 or len(amounts) > 2 * len(shape):
        raise b.unsupported(node, f"pads with mode {mode!r}, value {value}, amounts {amounts}; only zeros can be added")
    pairs = list(zip(amounts[0::2], amounts[1::2], strict=True))
    pairs += [(0, 0)] * (len(shape) - len(pairs))
    before, after = zip(*reversed(pairs), strict=True)
    return b.keep(node, "pad", before=before, after=after)


def _dropout(b: Builder, node: fx.Node) -> str:
    p = float(b.arg(node, 1, "p", 0.5))
    whole = "feature" in str(node.target)  # Dropout2d drops channels
    return b.keep(node, "dropout", p=p, whole=whole) if p > 0 else _same(b, node)


def _same(b: Builder, node: fx.Node) -> str:
    return b.value(node, node.args[0])


def _both(name: str, handler: Handler) -> dict[str, Handler]:
    """An operator and its in-place form."""
    return {f"aten.{name}": handler, f"aten.{name.replace('.', '_.', 1)}": handler}


ATEN: dict[str, Handler] = {
    "aten.conv1d.default": _conv,
    "aten.conv2d.default": _conv,
    "aten.conv1d.padding": _conv,
    "aten.conv2d.padding": _conv,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _batch_norm,
    **_both("relu.default", _relu),
    **_both("relu6.default", lambda b, node: _relu(b, node, 6.0)),
    **_both("hardtanh.default", _hardtanh),
    **_both("hardswish.default", _table("hardswish")),
    **_both("hardsigmoid.default", _table("hardsigmoid")),
    **_both("silu.default", _table("silu")),
    **_both("gelu.default", _table("gelu")),
    **_both("sigmoid.default", _table("sigmoid")),
    **_both("tanh.default", _table("tanh")),
    **_both("leaky_relu.default", _table("leaky_relu")),
    **_both("add.Tensor", _binary("add")),
    **_both("mul.Tensor", _binary("multiply")),
    "aten.cat.default": _concat,
    "aten.max_pool1d.default": _max_pool,
    "aten.max_pool2d.default": _max_pool,
    "aten.avg_pool1d.default": _avg_pool,
    "aten.avg_pool2d.default": _avg_pool,
    "aten.adaptive_avg_pool1d.default": _adaptive_pool,
    "aten.adaptive_avg_pool2d.default": _adaptive_pool,
    "aten.mean.dim": _mean,
    "aten.flatten.using_ints": _reshape,
    "aten.reshape.default": _reshape,
    "aten.view.default": _reshape,
    "aten.squeeze.dim": _reshape,
    "aten.squeeze.dims": _reshape,
    "aten.unsqueeze.default": _reshape,
    "aten.slice.Tensor": _slice,
    "aten.pad.default": _pad,
    "aten.constant_pad_nd.default": _pad,
    **_both("dropout.default", _dropout),
    **_both("feature_dropout.default", _dropout),
    "aten.alias.default": _same,
    "aten.clone.default": _same,
    "aten.contiguous.default": _same,
    "aten.detach.default": _same,
}
