"""A program as a ``.tflite`` flatbuffer for LiteRT: int8 activations ``q - 128``, ``[N, H, W, C]``.

The table definitions are those of the package ``ai-edge-litert`` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dqt.export.packages import package
from dqt.export.reals import (
    Layer,
    convert,
    instructions,
    is_depthwise,
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
from dqt.program.schema import size
from dqt.program.values import Value

CENTRE = 128
OUTPUT_ROOM = 1.1
"""An int32 output gets 8 bits over this many times the largest output that was seen."""
VERSIONS = {
    "ADD": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "DEQUANTIZE": 2, "FULLY_CONNECTED": 5,
    "MAX_POOL_2D": 2, "AVERAGE_POOL_2D": 2, "MEAN": 2, "MUL": 2, "PAD": 2, "PADV2": 2, "QUANTIZE": 1, "RESHAPE": 1,
    "STRIDED_SLICE": 2, "TRANSPOSE": 2,
}  # fmt: skip
"""Operator -> the version of its definition that knows int8."""


def litert_model(program: Program, batch: int, largest: float) -> bytes:
    """The model: float32 ``[batch, H, W, C]`` to float32.

    Args:
        program: the program.
        batch: samples of a call.
        largest: magnitude of the largest output, which sets the scale of an int32 output.

    Raises:
        ExportError: the package is missing, or an instruction has no counterpart.
    """
    found, values = instructions(program)
    made = _Maker(program, values, batch, largest)
    last = convert(found, MAKE, made, "LiteRT")
    out = made.tensor("output", made.shape(values[last].shape), "FLOAT32")
    made.add("DEQUANTIZE", [made.value(last)], out, "DequantizeOptions")
    return made.model(made.input, out)


def order(rank: int) -> list[int]:
    """Our dimensions, without the batch, in the order of LiteRT."""
    return [1, 2, 0] if rank == 3 else list(range(rank))


class _Maker:
    """Tensors, buffers and operators so far."""

    def __init__(self, program: Program, values: Mapping[str, Value], batch: int, largest: float) -> None:
        self.schema = package("ai_edge_litert.schema_py_generated")
        self.program, self.values, self.batch, self.largest = program, values, batch, largest
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [self.schema.BufferT()]
        self.operators: list[Any] = []
        self.codes: dict[str, int] = {}
        self.known: dict[str, int] = {}
        self.input = self.tensor("input", self.shape(program.input_shape), "FLOAT32")

    def shape(self, shape: Sequence[int]) -> list[int]:
        return [self.batch, *(shape[i] for i in order(len(shape)))]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        *,
        data: Any = None,
        scale: Any = None,
        zero: int = 0,
        axis: int = 0,
    ) -> int:
        made = self.schema.TensorT()
        made.name, made.shape, made.type = name, [int(d) for d in shape], getattr(self.schema.TensorType, kind)
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
            self.buffers.append(buffer)
            made.buffer = len(self.buffers) - 1
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, dtype=np.float32))
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale = scales
            made.quantization.zeroPoint = np.full(len(scales), zero, dtype=np.int64)
            made.quantization.quantizedDimension = axis
        self.tensors.append(made)
        return len(self.tensors) - 1

    def value(self, name: str) -> int:
        if name not in self.known:
            value = self.values[name]
            scale, zero = value.scale, value.zero - CENTRE
            if not value.coded:
                scale, zero = max(self.largest, 1e-6) * OUTPUT_ROOM / (CENTRE - 1), 0
            self.known[name] = self.tensor(name, self.shape(value.shape), "INT8", scale=scale, zero=zero)
        return self.known[name]

    def like(self, name: str, source: str, shape: Sequence[int]) -> int:
        """A tensor with the scale and zero of value ``source`` and a shape of its own, batch and order included."""
        value = self.values[source]
        return self.tensor(name, shape, "INT8", scale=value.scale, zero=value.zero - CENTRE)

    def integers(self, name: str, data: Any) -> int:
        array = np.asarray(data, dtype=np.int32)
        return self.tensor(name, array.shape, "INT32", data=array)

    def add(self, kind: str, ins: list[int], out: int, options: str, **fields: Any) -> None:
        made = self.schema.OperatorT()
        made.opcodeIndex = self.codes.setdefault(kind, len(self.codes))
        made.inputs, made.outputs = ins, [out]
        made.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
        made.builtinOptions = getattr(self.schema, f"{options}T")()
        for name, value in fields.items():
            setattr(made.builtinOptions, name, value)
        self.operators.append(made)

    def layer(self, layer: Layer, weight: Any, x: str, out: str, axis: int) -> list[int]:
        """The weight, already in LiteRT's order with its channels at ``axis``, and the bias."""
        bias_scale = layer.scale * np.float32(self.values[x].scale)
        return [
            self.tensor(f"{out}.weight", weight.shape, "INT8", data=weight, scale=layer.scale, axis=axis),
            self.tensor(f"{out}.bias", layer.bias.shape, "INT32", data=layer.bias, scale=bias_scale),
        ]

    def padded(self, x: str, out: str, padding: tuple[int, int, int, int], code: int) -> int:
        """Value ``x`` with a border of ``code``."""
        top, bottom, left, right = padding
        channels, height, width = self.values[x].shape
        pairs = self.integers(f"{out}.pads", [[0, 0], [top, bottom], [left, right], [0, 0]])
        shape = [self.batch, height + top + bottom, width + left + right, channels]
        to = self.like(f"{out}.padded", x, shape)
        ins = [self.value(x), pairs]
        if code == self.values[x].zero:
            self.add("PAD", ins, to, "PadOptions")
        else:
            value = self.values[x]
            border = np.array([code - CENTRE], dtype=np.int8)
            scale, zero = value.scale, value.zero - CENTRE
            ins.append(self.tensor(f"{out}.border", [1], "INT8", data=border, scale=scale, zero=zero))
            self.add("PADV2", ins, to, "PadV2Options")
        return to

    def model(self, first: int, last: int) -> bytes:
        s = self.schema
        graph = s.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, [first], [last]
        model = s.ModelT()
        model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], self.buffers, []
        for kind in self.codes:
            code = s.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = getattr(s.BuiltinOperator, kind)
            code.version = VERSIONS[kind]
            model.operatorCodes.append(code)
        builder = package("flatbuffers").Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def _same(op: Conv | MaxPool, made: _Maker, kernel: Sequence[int]) -> bool:
    """Whether the padding is what LiteRT calls SAME."""
    wanted: list[int] = []
    for i, length in enumerate(made.values[op.x].shape[1:]):
        reach, stride = op.dilation[i] * (kernel[i] - 1) + 1, op.stride[i]
        total = max((-(-length // stride) - 1) * stride + reach - length, 0)
        wanted += [total // 2, total - total // 2]
    return tuple(wanted) == op.padding


def _source(made: _Maker, op: Conv | MaxPool, kernel: Sequence[int], border: int) -> tuple[int, int]:
    """The input tensor, with an explicit border where LiteRT has no name for the padding, and that name."""
    if _same(op, made, kernel):
        return made.value(op.x), made.schema.Padding.SAME
    source = made.padded(op.x, op.out, op.padding, border) if any(op.padding) else made.value(op.x)
    return source, made.schema.Padding.VALID


def _quantize(made: _Maker, op: Quantize) -> None:
    made.add("QUANTIZE", [made.input], made.value(op.out), "QuantizeOptions")


def _conv(made: _Maker, op: Conv) -> None:
    layer = layer_of(op, made.program, made.values)
    source, padding = _source(made, op, op.weight.shape[2:], made.values[op.x].zero)
    fields: dict[str, Any] = {"padding": padding, "strideH": op.stride[0], "strideW": op.stride[1]}
    fields |= {"dilationHFactor": op.dilation[0], "dilationWFactor": op.dilation[1]}
    if is_depthwise(op):
        weight = layer.weight.transpose(1, 2, 3, 0)
        ins = [source, *made.layer(layer, weight, op.x, op.out, 3)]
        fields["depthMultiplier"] = len(op.weight) // op.groups
        made.add("DEPTHWISE_CONV_2D", ins, made.value(op.out), "DepthwiseConv2DOptions", **fields)
    else:
        ins = [source, *made.layer(layer, layer.weight.transpose(0, 2, 3, 1), op.x, op.out, 0)]
        made.add("CONV_2D", ins, made.value(op.out), "Conv2DOptions", **fields)


def _linear(made: _Maker, op: Linear) -> None:
    if len(made.values[op.x].shape) != 1:
        raise unsupported(op, "it is a product over the last of several dimensions")
    layer = layer_of(op, made.program, made.values)
    ins = [made.value(op.x), *made.layer(layer, layer.weight, op.x, op.out, 0)]
    made.add("FULLY_CONNECTED", ins, made.value(op.out), "FullyConnectedOptions")


def _binary(made: _Maker, op: Add | Multiply) -> None:
    rank = len(made.values[op.out].shape)
    if any(len(made.values[x].shape) != rank for x in (op.a, op.b)):
        raise unsupported(op, "its operands differ in their number of dimensions")
    if isinstance(op, Add) and (op.k1 < 0 or op.k2 < 0):
        raise unsupported(op, "it is a difference")
    kind, options = ("ADD", "AddOptions") if isinstance(op, Add) else ("MUL", "MulOptions")
    made.add(kind, [made.value(op.a), made.value(op.b)], made.value(op.out), options)


def _rescale(made: _Maker, op: Rescale) -> None:
    if len(made.values[op.x].shape) != 3:
        raise unsupported(op, "its value is not [C, H, W]")
    layer = layer_of_rescale(op, made.values)
    ins = [made.value(op.x), *made.layer(layer, layer.weight.transpose(1, 2, 3, 0), op.x, op.out, 3)]
    fields = {"padding": made.schema.Padding.VALID, "strideH": 1, "strideW": 1, "depthMultiplier": 1}
    made.add("DEPTHWISE_CONV_2D", ins, made.value(op.out), "DepthwiseConv2DOptions", **fields)


def _concat(made: _Maker, op: Concat) -> None:
    axis = 1 + order(len(made.values[op.out].shape)).index(op.axis)
    made.add("CONCATENATION", [made.value(x) for x in op.xs], made.value(op.out), "ConcatenationOptions", axis=axis)


def _max_pool(made: _Maker, op: MaxPool) -> None:
    if op.dilation != (1, 1):
        raise unsupported(op, "its windows are dilated")
    source, padding = _source(made, op, op.kernel, 0)
    _pool(made, op, "MAX_POOL_2D", source, padding, op.kernel, op.stride)


def _avg_pool(made: _Maker, op: AvgPool) -> None:
    windows, source, out = windows_of(op, made.values), made.values[op.x], made.values[op.out]
    if windows.whole:
        axes = made.integers(f"{op.out}.axes", [1, 2])
        made.add("MEAN", [made.value(op.x), axes], made.value(op.out), "ReducerOptions", keepDims=True)
        return
    if (source.scale, source.zero) != (out.scale, out.zero):
        raise unsupported(op, "its output has another scale than its input")
    _pool(made, op, "AVERAGE_POOL_2D", made.value(op.x), made.schema.Padding.VALID, windows.kernel, windows.stride)


def _pool(
    made: _Maker,
    op: MaxPool | AvgPool,
    kind: str,
    source: int,
    padding: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
) -> None:
    fields = {"padding": padding, "strideH": stride[0], "strideW": stride[1]}
    fields |= {"filterHeight": kernel[0], "filterWidth": kernel[1]}
    made.add(kind, [source], made.value(op.out), "Pool2DOptions", **fields)


def _reshape(made: _Maker, op: Reshape) -> None:
    source, shape, out = made.value(op.x), made.values[op.x].shape, made.values[op.out].shape
    if len(shape) == 3 and size(shape[1:]) > 1:
        turned = made.like(f"{op.out}.turned", op.x, [made.batch, *shape])
        made.add("TRANSPOSE", [source, made.integers(f"{op.out}.order", [0, 3, 1, 2])], turned, "TransposeOptions")
        source = turned
    if len(out) == 3 and size(out[1:]) > 1:
        raise unsupported(op, "its result is [C, H, W]")
    target = made.shape(out)
    ins = [source, made.integers(f"{op.out}.shape", target)]
    made.add("RESHAPE", ins, made.value(op.out), "ReshapeOptions", newShape=target)


def _slice(made: _Maker, op: Slice) -> None:
    places = order(len(op.starts))
    parts = {"starts": (op.starts, 0), "stops": (op.stops, made.batch), "steps": (op.steps, 1)}
    held = [made.integers(f"{op.out}.{name}", [b, *(part[i] for i in places)]) for name, (part, b) in parts.items()]
    made.add("STRIDED_SLICE", [made.value(op.x), *held], made.value(op.out), "StridedSliceOptions")


def _pad(made: _Maker, op: Pad) -> None:
    pairs = [[0, 0], *([op.before[i], op.after[i]] for i in order(len(op.before)))]
    ins = [made.value(op.x), made.integers(f"{op.out}.pads", pairs)]
    made.add("PAD", ins, made.value(op.out), "PadOptions")


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
