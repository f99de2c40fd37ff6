"""Operators element by element, in C: elementwise.c."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqt.export.c99.code import Code, real
from dqt.export.c99.layout import spread
from dqt.program.operator import Operator
from dqt.program.ops.add import Add
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.read import Read
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.table import Table


def _input(code: Code, name: str, kind: str) -> str:
    names = [given.name for given in code.program.inputs]
    return "input" if len(names) == 1 else f"(const {kind} *)inputs[{names.index(name)}]"


def quantize(code: Code, op: Quantize) -> None:
    """See dqt_quantize."""
    value = code.values[op.out]
    along = [int(len(op.gain) > 1 and i == op.axis) for i in range(len(value.shape))]
    walk = code.walk(value.shape, code.strides(op.out), along)
    gain, bias = (code.constant(part, np.float32) for part in (op.gain, op.bias))
    ends = (real(float(k)) for k in (value.zero, value.lo, value.hi))
    code.call("dqt_quantize", walk, _input(code, op.x, "float"), code.value(op.out), gain, bias, *ends)


def read(code: Code, op: Read) -> None:
    """The integers, which the entry has checked."""
    shape = code.values[op.out].shape
    walk = code.walk(shape, code.strides(op.out), [0] * len(shape))
    code.call("dqt_read", walk, _input(code, op.x, "int32_t"), code.value(op.out))


def dequantize(code: Code, op: Dequantize) -> None:
    """See dqt_dequantize."""
    value, names = code.values[op.x], [out.name for out in code.program.outputs]
    out = "output" if len(names) == 1 else f"outputs[{names.index(op.name)}]"
    walk = code.walk(value.shape, code.strides(op.x), [0] * len(value.shape))
    code.call("dqt_dequantize", walk, code.value(op.x), value.zero, real(float(np.float32(value.scale))), out)


def _binary(code: Code, op: Add | Multiply, *k: int) -> None:
    rank = len(code.values[op.out].shape)
    operands = (spread(code.values[name].shape, code.strides(name), rank) for name in (op.a, op.b))
    values = (code.value(name) for name in (op.a, op.b, op.out))
    walk, held = code.over(op.out, *operands), code.constant(k, np.int64)
    code.call(f"dqt_{type(op).__name__.lower()}", walk, *values, held, code.rounding(op))


def add(code: Code, op: Add) -> None:
    """See dqt_add."""
    _binary(code, op, op.k1, op.k2, op.k3)


def multiply(code: Code, op: Multiply) -> None:
    """See dqt_multiply."""
    _binary(code, op, op.k1, op.k2, op.k3, op.k4)


def _by_channel(code: Code, op: Rescale | Table, step: int) -> str:
    """A walk over the result: the input, and ``step`` more of the constants for each entry of its first dimension."""
    rank = len(code.values[op.out].shape)
    return code.over(op.out, code.strides(op.x), [step] + [0] * (rank - 1))


def rescale(code: Code, op: Rescale) -> None:
    """See dqt_rescale."""
    constants = (code.constant(op.m, np.int32), code.constant(op.c, np.int64))
    values = (code.value(op.x), code.value(op.out))
    code.call("dqt_rescale", _by_channel(code, op, int(len(op.m) > 1)), *values, *constants, code.rounding(op))


def table(code: Code, op: Table) -> None:
    """See dqt_look_up."""
    step = op.table.shape[1] if op.table.ndim == 2 else 0
    walk, held = _by_channel(code, op, step), code.constant(op.table, np.uint8)
    code.call("dqt_look_up", walk, code.data(op.x), code.data(op.out), held)


FORMS: dict[type[Operator], Any] = {
    Add: add, Dequantize: dequantize, Multiply: multiply, Quantize: quantize, Read: read, Rescale: rescale,
    Table: table,
}  # fmt: skip
