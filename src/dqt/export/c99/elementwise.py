"""Operators element by element, in C: elementwise.c."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqt.export.c99.code import Code, real, spread
from dqt.program.operator import Operator
from dqt.program.ops.add import Add
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.read import Read
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.table import Table
from dqt.program.schema import size


def _input(code: Code, name: str, kind: str) -> str:
    names = [given.name for given in code.program.inputs]
    return "input" if len(names) == 1 else f"(const {kind} *)inputs[{names.index(name)}]"


def quantize(code: Code, op: Quantize) -> None:
    """See dqt_quantize."""
    value = code.values[op.out]
    along = len(op.gain) > 1  # one number serves all elements: they are one dimension then
    axis = op.axis
    sizes = (size(value.shape[:axis]), value.shape[axis], size(value.shape[axis + 1 :]))
    outer, count, inner = sizes if along else (1, 1, size(value.shape))
    gain, bias = (code.constant(part, np.float32) for part in (op.gain, op.bias))
    ends = (real(float(k)) for k in (value.zero, value.lo, value.hi))
    x = _input(code, op.x, "float")
    code.call("dqt_quantize", x, code.value(op.out), outer, count, inner, gain, bias, *ends)


def read(code: Code, op: Read) -> None:
    """The integers, which the entry has checked."""
    value = code.values[op.out]
    x, count = _input(code, op.x, "int32_t"), size(value.shape)
    code.calls.append(f"for (size_t i = 0; i < {count}; i++) dqt_put({code.value(op.out)}, i, ({x})[i]);")


def dequantize(code: Code, op: Dequantize) -> None:
    """See dqt_dequantize."""
    value, names = code.values[op.x], [out.name for out in code.program.outputs]
    out = "output" if len(names) == 1 else f"outputs[{names.index(op.name)}]"
    scale = real(float(np.float32(value.scale)))
    code.call("dqt_dequantize", code.value(op.x), size(value.shape), value.zero, scale, out)


def _binary(code: Code, op: Add | Multiply, *k: int) -> None:
    out = code.values[op.out].shape
    walk = code.walk(out, *(spread(code.values[name].shape, len(out)) for name in (op.a, op.b)))
    values = (code.value(name) for name in (op.a, op.b, op.out))
    code.call(f"dqt_{type(op).__name__.lower()}", walk, *values, code.constant(k, np.int64), code.rounding(op))


def add(code: Code, op: Add) -> None:
    """See dqt_add."""
    _binary(code, op, op.k1, op.k2, op.k3)


def multiply(code: Code, op: Multiply) -> None:
    """See dqt_multiply."""
    _binary(code, op, op.k1, op.k2, op.k3, op.k4)


def rescale(code: Code, op: Rescale) -> None:
    """See dqt_rescale."""
    x = code.values[op.x].shape
    m, c = code.constant(op.m, np.int32), code.constant(op.c, np.int64)
    sizes = (x[0], size(x[1:]))
    code.call("dqt_rescale", code.value(op.x), code.value(op.out), *sizes, m, c, int(len(op.m) > 1), code.rounding(op))


def table(code: Code, op: Table) -> None:
    """See dqt_look_up."""
    x = code.values[op.x].shape
    step = op.table.shape[1] if op.table.ndim == 2 else 0
    held = code.constant(op.table, np.uint8)
    code.call("dqt_look_up", code.data(op.x), code.data(op.out), x[0], size(x[1:]), held, step)


FORMS: dict[type[Operator], Any] = {
    Add: add, Dequantize: dequantize, Multiply: multiply, Quantize: quantize, Read: read, Rescale: rescale,
    Table: table,
}  # fmt: skip
