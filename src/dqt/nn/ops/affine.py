"""Multiply-add by channel: a batch norm, or constants, where no layer before it takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import fx

from dqt.nn.capture import NormSpec
from dqt.nn.elementwise import append_binary, binary
from dqt.nn.finite import check_variance
from dqt.nn.graph import Node
from dqt.nn.integers import rescale
from dqt.nn.moves import with_first
from dqt.nn.operator import Operator, in_place_too
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.rescale import Rescale

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _batch_norm(b: Builder, call: fx.Node) -> str:
    weight, bias, mean, var, batch_statistics, momentum, eps = (call.args[i] for i in range(1, 8))
    if mean is None or var is None or batch_statistics:
        raise b.unsupported(call, "uses no running statistics, so it has no fixed arithmetic at inference")
    name, mean_value = b.tensor(call, mean)
    check_variance(*b.tensor(call, var), float(eps))  # type: ignore[arg-type]
    (w_name, w), (v_name, v) = (b.tensor(call, p) if p is not None else (None, None) for p in (weight, bias))
    spec = NormSpec(w, v, mean_value, b.tensor(call, var)[1], float(momentum), float(eps))  # type: ignore[arg-type]
    earlier = [path for path, known in b.captured.norms.items() if known.same(spec)]
    if earlier:  # a module that is called again
        return _by_channel(b, call, earlier[0])
    path = b.path(name)
    b.note_frozen(path, weight=w_name, bias=v_name)
    b.use(weight, path, "weight")
    b.use(bias, path, "bias")
    b.captured.norms[path] = spec
    return _by_channel(b, call, path)


def _by_channel(b: Builder, call: fx.Node, path: str) -> str:
    """Append a batch norm over dimension 1 of the model's tensor, which is moved to the front of the value for it."""
    source = call.args[0]
    axis = b.placements.axis(call, source, 1)  # type: ignore[arg-type]

    def append(x: str) -> str:
        return b.add(call, "affine", [x], path, norm=path, shape=b.captured.shapes[x])

    return with_first(b, call, b.operand(call, source), axis, append)


def _neg(b: Builder, call: fx.Node) -> str:
    return append_binary(b, call, "multiply", call.args[0], -1.0)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    norm = net.affine(node.norm)
    assert norm is not None
    y = norm(ins[0].master, b=net.space.master, batch_statistics=run.batch_statistics)
    return Signal(y, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    norm = e.net.affine(node.norm)
    assert norm is not None
    gain, bias = (v.detach().cpu().double().numpy() for v in norm.gain_and_bias(e.net.space.master))
    out = e.result_codes(node, float(np.max(np.abs(gain) * e.reach(node) + np.abs(bias))))
    k = rescale(e.codes(node.ins[0]), out, gain, bias)
    e.append(Rescale(e.source(node), e.result(node, out), k.m, k.c, k.shift, k.lo, k.hi))


OPERATOR = Operator(
    kind="affine",
    fake=_fake,
    emit=_emit,
    aten={
        "aten.batch_norm.default": _batch_norm,
        **in_place_too("div.Tensor", binary("div")),
        **in_place_too("neg.default", _neg),
    },
    own_quantizer=True,
    int32_result=True,
    int32_operands=True,
)
