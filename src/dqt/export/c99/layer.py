"""Layers in C: layer.c."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqt.export.c99.code import Code
from dqt.program.layered import Layered, row_of
from dqt.program.operator import Operator
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.planned import Planned
from dqt.program.schema import size


def _layer(code: Code, op: Layered) -> str:
    space, count = code.program.space, op.weight.shape[0]
    row, weight_e, input_e = (np.zeros(code.n + 1, dtype=np.uint8) for _ in range(3))
    for i, b in enumerate(space.widths):
        row[b] = row_of(space, op.m, b)
        weight_e[b] = op.weight_exponents[i] if op.weight_exponents else 0
        input_e[b] = op.input_exponents[i] if op.input_exponents else 0
    arrays = [
        code.constant(op.weight, np.int8), code.constant(op.m, np.int32), code.constant(op.c, np.int64),
        *(code.constant(part, np.uint8) for part in (weight_e, input_e, row)),
    ]  # fmt: skip
    numbers = [count, op.weight.shape[1], size(op.weight.shape[2:]), code.values[op.x].zero, code.n, int(op.nearest)]
    rounding = code.rounding(op).removeprefix("(dqt_rounding)")
    return f"&(dqt_layer){{{', '.join([*arrays, *map(str, numbers), rounding])}}}"


def widths(code: Code, op: Planned) -> list[str]:
    """The widths that a layer runs at, in C: of the weights or the first operand, and of its input or the second."""
    if op.layer not in code.program.layers:  # the controller's own
        return [str(code.n)] * 2
    place = code.program.layers.index(op.layer)
    return [f"self->widths[{place}].{side}" for side in ("weights", "activations")]


def conv(code: Code, op: Conv) -> None:
    """See dqt_conv."""
    x, out = code.values[op.x].shape, code.values[op.out].shape
    top, _, left, _ = op.padding
    pairs = [f"{{{a}, {b}}}" for a, b in (op.weight.shape[2:], op.stride)]
    parts = [*x, *out[1:], *pairs, top, left, f"{{{op.dilation[0]}, {op.dilation[1]}}}", op.groups]
    window = f"&(dqt_window){{{', '.join(map(str, parts))}}}"
    row = f"(int8_t *)({code.data(f'row of {op.out}')})"
    code.call("dqt_conv", _layer(code, op), window, code.data(op.x), code.value(op.out), *widths(code, op), row)


def linear(code: Code, op: Linear) -> None:
    """See dqt_linear."""
    vectors = size(code.values[op.x].shape[:-1])
    row = f"(int8_t *)({code.data(f'row of {op.out}')})"
    code.call("dqt_linear", _layer(code, op), vectors, code.data(op.x), code.value(op.out), *widths(code, op), row)


FORMS: dict[type[Operator], Any] = {Conv: conv, Linear: linear}
