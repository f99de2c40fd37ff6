"""Elementwise nonlinearities: real functions that become tables of 2^n entries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from dqt.nn.elementwise import emit_table
from dqt.nn.graph import Node
from dqt.nn.operator import Handler, Operator, in_place_too
from dqt.nn.ops.relu import relu
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "hardtanh": lambda x, low=-1.0, high=1.0: x.clamp(low, high),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "silu": F.silu,
    "gelu": lambda x, approximate="none": F.gelu(x, approximate=approximate),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
    "elu": lambda x, alpha=1.0, scale=1.0, input_scale=1.0: scale * F.elu(x * input_scale, alpha),
    "selu": F.selu,
    "celu": lambda x, alpha=1.0: F.celu(x, alpha),
    "mish": F.mish,
    "softplus": lambda x, beta=1.0, threshold=20.0: F.softplus(x, beta, threshold),
    "log_sigmoid": F.logsigmoid,
    "hardshrink": lambda x, bound=0.5: F.hardshrink(x, bound),
    "softshrink": lambda x, bound=0.5: F.softshrink(x, bound),
    "threshold": F.threshold,
    "abs": torch.abs,
    "square": torch.square,
    "exp": torch.exp,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
}
"""Name -> function of a real tensor and the constants of the operator."""
POSITIVE = {"sigmoid", "hardsigmoid", "softplus", "abs", "square", "exp"}
"""Functions whose results are never negative."""
IN_PLACE = (
    "hardswish", "hardsigmoid", "silu", "gelu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "celu", "mish",
    "threshold", "abs", "square", "exp", "sin", "cos", "erf",
)  # fmt: skip
"""Functions that ATen has in place, too."""


def _hardtanh(b: Builder, call: fx.Node) -> str:
    low, high = (b.arg(call, i, key, d) for i, key, d in ((1, "min_val", -1.0), (2, "max_val", 1.0)))
    return _clamp_between(b, call, low, high)


def _clamp(b: Builder, call: fx.Node) -> str:
    low, high = b.arg(call, 1, "min"), b.arg(call, 2, "max")
    return _clamp_between(b, call, low, high)


def _clamp_between(b: Builder, call: fx.Node, low: Any, high: Any) -> str:
    """``min(max(x, low), high)``; a bound that is ``None`` is none."""
    least, most = (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))
    if least == 0 and most > 0:
        return relu(b, call, most)
    attrs = {"function": "hardtanh", "args": (least, most)}
    return b.add(call, "table", [b.value(call, call.args[0])], attrs=attrs)


def _table(function: str) -> Handler:
    def handler(b: Builder, call: fx.Node) -> str:
        values = [*call.args[1:], *call.kwargs.values()]
        edge = "unsigned" if function in POSITIVE else "signed"
        attrs = {"function": function, "args": tuple(v for v in values if v is not None)}
        return b.add(call, "table", [b.value(call, call.args[0])], edge=edge, attrs=attrs)

    return handler


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw = FUNCTIONS[node.attrs["function"]](ins[0].master, *node.attrs["args"])
    return Signal(raw, net.edge(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    emit_table(e, node, FUNCTIONS[node.attrs["function"]], node.attrs["args"])


OPERATOR = Operator(
    kind="table",
    fake=_fake,
    emit=_emit,
    aten={
        **in_place_too("hardtanh.default", _hardtanh),
        **in_place_too("clamp.default", _clamp),
        **in_place_too("clamp_min.default", lambda b, call: _clamp_between(b, call, b.arg(call, 1, "min"), None)),
        **in_place_too("clamp_max.default", lambda b, call: _clamp_between(b, call, None, b.arg(call, 1, "max"))),
        **{
            name: each
            for function in IN_PLACE
            for name, each in in_place_too(f"{function}.default", _table(function)).items()
        },
        **{f"aten.{function}.default": _table(function) for function in FUNCTIONS.keys() - {"hardtanh", *IN_PLACE}},
    },
)
