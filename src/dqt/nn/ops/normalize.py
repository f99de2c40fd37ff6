"""Layer norm, RMS norm, group norm and instance norm: rows divided by their root mean square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from dqt.arith import fixed
from dqt.arith.roots import (
    ENERGY_BITS,
    UNIT_BITS,
    added_energy,
    energy,
    inverse_root,
    normalize,
    root_table,
    row_shift,
    shifted,
)
from dqt.nn import fake
from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.nn.scales import RowAffine, Scale
from dqt.program.ops.normalize import MOST_FRACTION, Normalize

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

EPS = torch.finfo(torch.float32).eps
"""What ``F.rms_norm`` adds where it is given nothing: of the model's own type, which is float32 here."""


def _layer_norm(b: Builder, call: fx.Node) -> str:
    given: Any = call.args[1]
    weight, bias = b.arg(call, 2, "weight"), b.arg(call, 3, "bias")
    return _of_last(b, call, len(given), weight, bias, float(b.arg(call, 4, "eps", 1e-5)), center=True)


def _rms_norm(b: Builder, call: fx.Node) -> str:
    given: Any = call.args[1]
    eps = b.arg(call, 3, "eps")
    weight = b.arg(call, 2, "weight")
    return _of_last(b, call, len(given), weight, None, EPS if eps is None else float(eps), center=False)


def _of_last(b: Builder, call: fx.Node, dims: int, weight: Any, bias: Any, eps: float, *, center: bool) -> str:
    """A norm of the last ``dims`` dimensions, of which each element has constants of its own."""
    x = b.operand(call, call.args[0])
    for dim in range(1, dims + 1):
        b.placements.axis(call, call.args[0], -dim)  # type: ignore[arg-type]
    shape = b.captured.shapes[x]
    axis = len(shape) - dims
    affine = (*(1,) * axis, *shape[axis:])
    return append_norm(b, call, x, {"axis": axis, "groups": 1, "center": center, "eps": eps}, weight, bias, affine)


def _group_norm(b: Builder, call: fx.Node) -> str:
    x, groups = b.value(call, call.args[0]), int(call.args[1])  # type: ignore[arg-type]
    weight, bias = b.arg(call, 2, "weight"), b.arg(call, 3, "bias")
    attrs = {"axis": 0, "groups": groups, "center": True, "eps": float(b.arg(call, 4, "eps", 1e-5))}
    return append_norm(b, call, x, attrs, weight, bias, _by_channel(b, x))


def _instance_norm(b: Builder, call: fx.Node) -> str:
    """One row for each channel; with running statistics in evaluation it is a batch norm."""
    x, (weight, bias, mean, _, own, _, eps) = b.value(call, call.args[0]), (call.args[i] for i in range(1, 8))
    if not own and mean is not None:
        raise b.unsupported(call, "uses running statistics: make it a BatchNorm, which is the same in evaluation")
    attrs = {"axis": 1, "groups": 1, "center": True, "eps": float(eps)}  # type: ignore[arg-type]
    return append_norm(b, call, x, attrs, weight, bias, _by_channel(b, x))


def _by_channel(b: Builder, x: str) -> tuple[int, ...]:
    shape = b.captured.shapes[x]
    return (shape[0], *(1,) * (len(shape) - 1))


def append_norm(
    b: Builder, call: fx.Node, x: str, attrs: dict[str, Any], weight: Any, bias: Any, affine: tuple[int, ...]
) -> str:
    """Append a norm; ``affine``: the shape of its constants beside the value, whose dimensions it has."""
    given = {"weight": weight, "bias": bias}
    found = {leaf: b.tensor(call, arg, leaf) for leaf, arg in given.items() if arg is not None}
    tensors = {leaf: tensor.reshape(affine) for leaf, (_, tensor) in found.items()}
    names = {leaf: name for leaf, (name, _) in found.items()}
    path = b.path(next(iter(names.values()), None) or f"{call.name}.norm")
    for leaf, arg in given.items():
        b.use(arg, path, leaf)
    b.note_frozen(path, **names)
    b.captured.modules[path] = RowAffine(tensors.get("weight"), tensors.get("bias"))
    b.placements.put(call, b.placements.of(call.args[0]))  # type: ignore[arg-type]
    shape = b.captured.shapes[x]
    return b.add(call, "normalize", [x], path, shape=shape, attrs={**attrs, "module": path})


def _rows(x: Tensor, node: Node) -> Tensor:
    """``[N, ...]`` -> ``[N, rows.., count]``."""
    axis, groups = node.attrs["axis"], node.attrs["groups"]
    return x.reshape(*x.shape[: 1 + axis], groups, -1)


def _normalized(x: Tensor, node: Node) -> Tensor:
    """The real values, before gain and bias."""
    rows = _rows(x, node)
    if node.attrs["center"]:
        rows = rows - rows.mean(-1, keepdim=True)
    rows = rows * (rows.square().mean(-1, keepdim=True) + node.attrs["eps"]).rsqrt()
    return rows.reshape(x.shape)


@torch.no_grad()
def _integers(x: Signal, node: Node, n: int) -> Tensor:
    """What the program makes of codes, before gain and bias (docs/numerics.md, equations 22 to 24)."""
    v = _rows(x.codes(n).round().long(), node)
    count = v.shape[-1]
    k = row_shift(v.abs().amax(-1, keepdim=True), count)
    v = shifted(v, k)
    total = v.sum(-1, keepdim=True) * int(node.attrs["center"])
    added = added_energy(count, *_epsilon(node.attrs["eps"], float(x.scale), count))
    w = energy((v * v).sum(-1, keepdim=True), total, count, added, k)
    table = torch.from_numpy(root_table()).to(v.device)
    u = normalize(v * count - total, *inverse_root(w, table)).double() * 2.0**-UNIT_BITS
    return u.reshape(x.raw.shape)


def _epsilon(eps: float, scale: float, count: int) -> tuple[int, int]:
    """Of the squared scale, as an integer of 31 bits, or more, and the bits of its fraction; at most as is proved."""
    real = min(eps / scale**2, 2.0 ** (ENERGY_BITS - 2) / count**2)
    fraction = min(max(31 - math.frexp(real)[1], 0), MOST_FRACTION)
    return round(real * 2.0**fraction), fraction


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """In evaluation of codes through the program's integers; the gradient is that of the real norm."""
    (x,), (gain, bias) = ins, net.row_affine(node.attrs["module"])
    y = _normalized(run.summed(x.master), node)
    if run.mirrors and x.quantizer is not None:
        y = fake.straight_through(y, _integers(x, node, net.space.master))
    y = y if gain is None else y * gain.to(y.dtype)
    y = y if bias is None else y + bias.to(y.dtype)
    return Signal(y, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    append_normalize(e, node, node)


def append_normalize(e: Emission, node: Node, result: Node, then: Scale | None = None) -> None:
    """Append the norm ``node`` as the value of ``result``; ``then``: what each feature is multiplied by after it."""
    a, source = node.attrs, e.codes(node.ins[0])
    shape = e.net.shapes[node.ins[0]]
    count = math.prod(shape[a["axis"] :]) // a["groups"]
    one = (1,) * len(shape)
    gain, bias = (
        np.full(one, default) if part is None else part.detach().cpu().double().numpy()
        for part, default in zip(e.net.row_affine(a["module"]), (1.0, 0.0), strict=True)
    )
    if then is not None:
        factor, offset = (part.detach().cpu().numpy() for part in then.gain_and_bias(e.net.space.master))
        gain, bias = gain * factor, bias * factor + offset
    gain, bias = np.broadcast_arrays(gain, bias)
    out = e.result_codes(result, float(np.max(np.abs(gain) * math.sqrt(count) + np.abs(bias))))
    scale = gain * 2.0**-UNIT_BITS / out.scale
    shift = fixed.choose_shift(scale)
    m, c = fixed.multiplier(scale, shift), fixed.offset(bias / out.scale, out.zero, shift)
    epsilon, fraction = _epsilon(a["eps"], source.scale, count)
    x, y = e.source(node), e.result(result, out)
    e.append(Normalize(x, y, a["axis"], a["groups"], a["center"], epsilon, fraction, m, c, shift, out.lo, out.hi))


OPERATOR = Operator(
    kind="normalize",
    fake=_fake,
    emit=_emit,
    aten={
        "aten.layer_norm.default": _layer_norm,
        "aten.rms_norm.default": _rms_norm,
        "aten.group_norm.default": _group_norm,
        "aten.instance_norm.default": _instance_norm,
    },
    own_quantizer=True,
    int32_result=True,
    int32_operands=True,
    streams=True,
)
