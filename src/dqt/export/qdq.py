"""A program as an ONNX model in QDQ form: ``QuantizeLinear`` and ``DequantizeLinear`` around float operators.

The form from which ONNX Runtime and OpenVINO take their int8 kernels: uint8 activations, int8 weights with a scale a
channel, int32 biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dqt.export.packages import package
from dqt.export.reals import (
    Layer,
    convert,
    difference,
    instructions,
    layer_of,
    layer_of_rescale,
    unsupported,
    windows_of,
)
from dqt.program.operator import Operator
from dqt.program.ops.add import Add
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.concat import Concat
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.ops.max_pool import MaxPool
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.pad import Pad
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.slice import Slice
from dqt.program.program import Program
from dqt.program.values import Value

OPSET, IR_VERSION = 19, 10
INPUT, OUTPUT = "input", "output"


def qdq_model(program: Program, batch: int | str = "N") -> bytes:
    """The serialized model: float32 ``input`` ``[batch, *input_shape]`` to float32 ``output``.

    Args:
        program: the program.
        batch: a number of samples, for engines that plan for one; a name leaves it open.

    Raises:
        ExportError: the package ``onnx`` is missing, or an instruction has no counterpart.
    """
    onnx = package("onnx")
    found, values = instructions(program)
    made = _Maker(program, values, batch)
    last = convert(found, MAKE, made, "ONNX")
    made.node("Identity", [last], OUTPUT)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        made.nodes,
        "dqt",
        [helper.make_tensor_value_info(INPUT, kind, [batch, *program.input_shape])],
        [helper.make_tensor_value_info(OUTPUT, kind, [batch, *values[last].shape])],
        made.tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _Maker:
    """Nodes and constants so far. A value of the program is the float tensor of its name, after its Q and DQ."""

    def __init__(self, program: Program, values: Mapping[str, Value], batch: int | str) -> None:
        self.onnx = package("onnx")
        self.program, self.values, self.batch = program, values, batch
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def node(self, kind: str, ins: list[str], out: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(kind, ins, [out], name=f"{out}:{kind}", **attributes))
        return out

    def constant(self, name: str, array: Any) -> str:
        self.tensors.append(self.onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def define(self, kind: str, ins: list[str], out: str, **attributes: Any) -> None:
        """A float operator and, unless its value is int32, the quantization of its result."""
        if not self.values[out].coded:
            self.node(kind, ins, out, **attributes)
        else:
            self.quantized(self.node(kind, ins, f"{out}.real", **attributes), out)

    def quantized(self, real: str, out: str) -> None:
        value = self.values[out]
        scale = self.constant(f"{out}.scale", np.float32(value.scale))
        zero = self.constant(f"{out}.zero", np.uint8(value.zero))
        codes = self.node("QuantizeLinear", [real, scale, zero], f"{out}.codes")
        self.node("DequantizeLinear", [codes, scale, zero], out)

    def layer(self, layer: Layer, x: str, out: str) -> list[str]:
        """Dequantized weight and bias, as inputs of the operator."""
        scales = {"weight": layer.scale, "bias": layer.scale * np.float32(self.values[x].scale)}
        ins = [x]
        for part, codes in (("weight", layer.weight), ("bias", layer.bias)):
            held = self.constant(f"{out}.{part}.codes", codes)
            scale = self.constant(f"{out}.{part}.scale", scales[part])
            zero = self.constant(f"{out}.{part}.zero", np.zeros(len(codes), dtype=codes.dtype))
            ins.append(self.node("DequantizeLinear", [held, scale, zero], f"{out}.{part}", axis=0))
        return ins


def _quantize(made: _Maker, op: Quantize) -> None:
    made.quantized(INPUT, op.out)


def _conv(made: _Maker, op: Conv) -> None:
    top, bottom, left, right = op.padding
    ins = made.layer(layer_of(op, made.program, made.values), op.x, op.out)
    made.define(
        "Conv", ins, op.out,
        kernel_shape=op.weight.shape[2:], strides=op.stride, pads=[top, left, bottom, right],
        dilations=op.dilation, group=op.groups,
    )  # fmt: skip


def _linear(made: _Maker, op: Linear) -> None:
    if len(made.values[op.x].shape) != 1:
        raise unsupported(op, "it is a product over the last of several dimensions")
    made.define("Gemm", made.layer(layer_of(op, made.program, made.values), op.x, op.out), op.out, transB=1)


def _binary(made: _Maker, op: Add | Multiply) -> None:
    rank = len(made.values[op.out].shape)
    if any(len(made.values[x].shape) != rank for x in (op.a, op.b)):
        raise unsupported(op, "its operands differ in their number of dimensions")
    if isinstance(op, Multiply):
        made.define("Mul", [op.a, op.b], op.out)
    elif op.k1 > 0 and op.k2 > 0:
        made.define("Add", [op.a, op.b], op.out)
    else:
        made.define("Sub", list(difference(op)), op.out)


def _rescale(made: _Maker, op: Rescale) -> None:
    shape = made.values[op.x].shape
    if len(shape) != 3:
        raise unsupported(op, "its value is not [C, H, W]")
    ins = made.layer(layer_of_rescale(op, made.values), op.x, op.out)
    made.define("Conv", ins, op.out, kernel_shape=[1, 1], group=shape[0])


def _concat(made: _Maker, op: Concat) -> None:
    made.define("Concat", list(op.xs), op.out, axis=op.axis + 1)


def _max_pool(made: _Maker, op: MaxPool) -> None:
    top, bottom, left, right = op.padding
    made.define(
        "MaxPool", [op.x], op.out,
        kernel_shape=op.kernel, strides=op.stride, pads=[top, left, bottom, right], dilations=op.dilation,
    )  # fmt: skip


def _avg_pool(made: _Maker, op: AvgPool) -> None:
    windows = windows_of(op, made.values)
    if windows.whole:
        made.define("GlobalAveragePool", [op.x], op.out)
    else:
        made.define("AveragePool", [op.x], op.out, kernel_shape=windows.kernel, strides=windows.stride)


def _reshape(made: _Maker, op: Reshape) -> None:
    shape = np.array([0, *made.values[op.out].shape], dtype=np.int64)  # 0: the batch stays
    made.define("Reshape", [op.x, made.constant(f"{op.out}.shape", shape)], op.out)


def _slice(made: _Maker, op: Slice) -> None:
    parts = {"starts": op.starts, "stops": op.stops, "axes": range(1, 1 + len(op.starts)), "steps": op.steps}
    held = [made.constant(f"{op.out}.{name}", np.array(part, dtype=np.int64)) for name, part in parts.items()]
    made.define("Slice", [op.x, *held], op.out)


def _pad(made: _Maker, op: Pad) -> None:
    pads = made.constant(f"{op.out}.pads", np.array([0, *op.before, 0, *op.after], dtype=np.int64))
    made.define("Pad", [op.x, pads], op.out)


MAKE: dict[type[Operator], Callable[[_Maker, Any], None]] = {
    Quantize: _quantize,
    Conv: _conv,
    Linear: _linear,
    Add: _binary,
    Multiply: _binary,
    Rescale: _rescale,
    Concat: _concat,
    MaxPool: _max_pool,
    AvgPool: _avg_pool,
    Reshape: _reshape,
    Slice: _slice,
    Pad: _pad,
}
