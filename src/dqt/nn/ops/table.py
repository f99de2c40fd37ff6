"""Elementwise nonlinearities: real functions that become tables of 2^n entries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from dqt.nn.elementwise import emit_table
from dqt.nn.graph import Node
from dqt.nn.operator import Handler, Operator, in_place_too
from dqt.nn.ranges import Signal
from dqt.nn.run import Run

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


LEAST = 1e-6
"""The smallest magnitude that a root, a logarithm or a reciprocal is taken of: at 0 they are infinite."""


def _power(x: Tensor, exponent: float) -> Tensor:
    """``x ** exponent``, finite everywhere: of what is no number, the power of the smallest magnitude."""
    if exponent.is_integer() and exponent >= 0:
        return x.pow(int(exponent))
    size = x.abs() if exponent.is_integer() else x
    power = size.clamp_min(LEAST).pow(exponent)
    return power.copysign(x) if exponent % 2 == 1 else power


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
    "erfc": torch.erfc,
    "sign": torch.sign,
    "tan": torch.tan,
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "asinh": torch.asinh,
    "expm1": torch.expm1,
    "exp2": torch.exp2,
    "sqrt": lambda x: x.clamp_min(LEAST).sqrt(),
    "rsqrt": lambda x: x.clamp_min(LEAST).rsqrt(),
    "log": lambda x: x.clamp_min(LEAST).log(),
    "log2": lambda x: x.clamp_min(LEAST).log2(),
    "log10": lambda x: x.clamp_min(LEAST).log10(),
    "log1p": lambda x: x.clamp_min(LEAST - 1).log1p(),
    "reciprocal": lambda x: x.abs().clamp_min(LEAST).reciprocal().copysign(x),
    "rrelu": lambda x, lower=1 / 8, upper=1 / 3, *_: F.leaky_relu(x, (lower + upper) / 2),
    "pow": lambda x, exponent: _power(x, float(exponent)),
    "base": lambda x, base: torch.exp(x * math.log(base)),
}
"""Name -> function of a real tensor and the constants of the operator."""
POSITIVE = {
    "sigmoid",
    "hardsigmoid",
    "softplus",
    "abs",
    "square",
    "exp",
    "erfc",
    "cosh",
    "exp2",
    "sqrt",
    "rsqrt",
    "base",
}
"""Functions whose results are never negative."""
IN_PLACE = (
    "hardswish", "hardsigmoid", "silu", "gelu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "celu", "mish",
    "threshold", "abs", "square", "exp", "sin", "cos", "erf", "erfc", "sign", "tan", "atan", "sinh", "cosh", "asinh",
    "expm1", "exp2", "sqrt", "rsqrt", "log", "log2", "log10", "log1p", "reciprocal", "rrelu",
)  # fmt: skip
"""Functions that ATen has in place, too."""
SLOPING = {
    "hardtanh", "hardswish", "hardsigmoid", "silu", "gelu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "celu",
    "mish", "softplus", "log_sigmoid", "softshrink", "erf",
}  # fmt: skip
"""Functions that are finite everywhere and nowhere steep."""
OWN = {"hardtanh", "pow", "base"}
"""Functions whose ATen operators have handlers of their own."""


def _hardtanh(b: Builder, call: fx.Node) -> str:
    low, high = (b.arg(call, i, key, d) for i, key, d in ((1, "min_val", -1.0), (2, "max_val", 1.0)))
    return clamp_between(b, call, call.args[0], low, high)


def _clamp(b: Builder, call: fx.Node) -> str:
    low, high = b.arg(call, 1, "min"), b.arg(call, 2, "max")
    return clamp_between(b, call, call.args[0], low, high)


def clamp_between(b: Builder, call: fx.Node, x: Any, low: Any, high: Any) -> str:
    """Append ``min(max(x, low), high)``; a bound that is ``None`` is none."""
    least, most = (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))
    if least == 0 and most > 0:
        return b.add(call, "relu", [b.operand(call, x)], quantizer="relu", cap=most)
    attrs = {"function": "hardtanh", "args": (least, most)}
    return b.add(call, "table", [b.operand(call, x)], attrs=attrs)


def _table(function: str) -> Handler:
    def handler(b: Builder, call: fx.Node) -> str:
        values = [*call.args[1:], *call.kwargs.values()]
        quantizer = "unsigned" if function in POSITIVE else "signed"
        attrs = {"function": function, "args": tuple(v for v in values if v is not None)}
        return b.add(call, "table", [b.operand(call, call.args[0])], quantizer=quantizer, attrs=attrs)

    return handler


def _pow(b: Builder, call: fx.Node) -> str:
    exponent = float(b.arg(call, 1, "exponent"))
    quantizer = "signed" if exponent % 2 == 1 else "unsigned"
    attrs = {"function": "pow", "args": (exponent,)}
    return b.add(call, "table", [b.operand(call, call.args[0])], quantizer=quantizer, attrs=attrs)


def _base(b: Builder, call: fx.Node) -> str:
    """A number to the power of a value."""
    base = float(b.arg(call, 0, "self"))
    if base <= 0:
        raise b.unsupported(call, f"takes powers of {base}; the base must be above 0")
    attrs = {"function": "base", "args": (base,)}
    return b.add(call, "table", [b.operand(call, call.args[1])], quantizer="unsigned", attrs=attrs)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw = FUNCTIONS[node.attrs["function"]](ins[0].master, *node.attrs["args"])
    return Signal(raw, net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    emit_table(e, node, FUNCTIONS[node.attrs["function"]], node.attrs["args"])


def functions_of(net: Net) -> dict[str, Callable[[Tensor], Tensor]]:
    """What all readers make of a quantizer's codes, where that is one function of :data:`SLOPING`, by its value."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for node in net.nodes:
        made = (node.attrs["function"], node.attrs["args"]) if node.kind == "table" else ()
        for owner in {net.owners[name] for name in node.ins} - {net.owners[node.out]}:
            found.setdefault(owner, set()).add(made)
    for name in (*(output.value for output in net.outputs), *net.signature.states):
        found.setdefault(net.owners[name], set()).add(())
    alike = {owner: next(iter(each)) for owner, each in found.items() if len(each) == 1}
    return {owner: partial(_applied, *made) for owner, made in alike.items() if made and made[0] in SLOPING}


def _applied(function: str, args: tuple[Any, ...], x: Tensor) -> Tensor:
    return FUNCTIONS[function](x, *args)


OPERATOR = Operator(
    kind="table",
    fake=_fake,
    emit=_emit,
    aten={
        **in_place_too("hardtanh.default", _hardtanh),
        **in_place_too("clamp.default", _clamp),
        **in_place_too(
            "clamp_min.default", lambda b, call: clamp_between(b, call, call.args[0], b.arg(call, 1, "min"), None)
        ),
        **in_place_too(
            "clamp_max.default", lambda b, call: clamp_between(b, call, call.args[0], None, b.arg(call, 1, "max"))
        ),
        **{
            name: each
            for function in IN_PLACE
            for name, each in in_place_too(f"{function}.default", _table(function)).items()
        },
        **dict.fromkeys(("aten.pow.Tensor_Scalar", "aten.pow_.Scalar"), _pow),
        "aten.pow.Scalar": _base,
        **{f"aten.{function}.default": _table(function) for function in FUNCTIONS.keys() - {*IN_PLACE, *OWN}},
    },
)
