"""Inputs, outputs, states and what moves values, in QDQ form."""

from __future__ import annotations

import numpy as np

from dqt.export.names import output_names, state_in, state_out
from dqt.export.qdq.maker import Maker
from dqt.program.ops.concat import Concat
from dqt.program.ops.constant import Constant
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.gather import Gather
from dqt.program.ops.pad import Pad
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.read import Read
from dqt.program.ops.recall import Recall
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.slice import Slice
from dqt.program.ops.store import Store
from dqt.program.ops.transpose import Transpose


def quantize(made: Maker, op: Quantize) -> None:
    """The input, normalized where the program does so."""
    value = made.values[op.out]
    shape = [1] * len(value.shape)
    shape[op.axis] = -1
    gain, bias = (value.scale * k.astype(np.float64).reshape(shape) for k in (op.gain, op.bias))
    made.define(op, "Identity", [op.x], gain, bias)


def read(made: Maker, op: Read) -> None:
    """Integers as float32 numbers."""
    made.define(op, "Cast", [op.x], to=made.onnx.TensorProto.FLOAT)


def dequantize(made: Maker, op: Dequantize) -> None:
    """An output."""
    made.node("Identity", [op.x], output_names(made.program)[op.name])


def recall(made: Maker, op: Recall) -> None:
    """An input of integers, dequantized."""
    value, x = made.values[op.out], made.cast(state_in(op.state), "FLOAT")
    made.define(op, "Sub", [x, made.constant(value.zero)], value.scale)


def store(made: Maker, op: Store) -> None:
    """An output of integers."""
    x = made.codes.get(op.x) or made.node("Round", [made.node("Div", [op.x, made.constant(made.values[op.x].scale)])])
    made.node("Cast", [x], state_out(op.state), to=made.onnx.TensorProto.INT32)


def constant(made: Maker, op: Constant) -> None:
    """Real numbers, once for each sample of the first input."""
    value = made.values[op.out]
    data = op.data[tuple(slice(d) for d in value.shape)][None]
    held = made.constant(value.scale * (data.astype(np.float64) - value.zero))
    count = made.node("Shape", [made.program.inputs[0].name], start=0, end=1)
    ones = made.constant([1] * (data.ndim - 1), np.int64)
    made.define(op, "Expand", [held, made.node("Concat", [count, ones], axis=0)])


def concat(made: Maker, op: Concat) -> None:
    """``Concat``."""
    made.define(op, "Concat", list(op.xs), axis=op.axis + 1)


def gather(made: Maker, op: Gather) -> None:
    """``Gather``."""
    made.define(op, "Gather", [op.x, made.constant(op.indices, np.int32)], axis=op.axis + 1)


def transpose(made: Maker, op: Transpose) -> None:
    """``Transpose``."""
    made.define(op, "Transpose", [op.x], perm=[0, *(axis + 1 for axis in op.axes)])


def reshape(made: Maker, op: Reshape) -> None:
    """``Reshape``; 0 stands for the batch."""
    made.define(op, "Reshape", [op.x, made.constant([0, *made.values[op.out].shape], np.int64)])


def slice_(made: Maker, op: Slice) -> None:
    """``Slice``."""
    parts = (op.starts, op.stops, range(1, 1 + len(op.starts)), op.steps)
    made.define(op, "Slice", [op.x, *(made.constant(list(part), np.int64) for part in parts)])


def pad(made: Maker, op: Pad) -> None:
    """``Pad`` with zeros."""
    made.define(op, "Pad", [op.x, made.constant([0, *op.before, 0, *op.after], np.int64)])


FORMS = {
    Concat: concat, Constant: constant, Dequantize: dequantize, Gather: gather, Pad: pad, Quantize: quantize,
    Read: read, Recall: recall, Reshape: reshape, Slice: slice_, Store: store, Transpose: transpose,
}  # fmt: skip
