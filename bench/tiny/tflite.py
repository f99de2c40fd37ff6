"""A float ``.tflite`` file as a module of PyTorch: the operators that the MLPerf Tiny networks are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqt.export.packages import package

RELU = 1
"""The fused activation of the file format that these networks have; 0 is none."""


class TFLite(nn.Module):
    """The network of a file, on ``[N, C, H, W]`` or ``[N, C]``; without the softmax at its end."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        schema = package("ai_edge_litert.schema_py_generated")
        self._model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        graph = self._model.subgraphs[0]
        self._tensors, self._names = graph.tensors, _names(schema)
        self.first, self.shape = int(graph.inputs[0]), [int(d) for d in graph.tensors[graph.inputs[0]].shape]
        self.parts = nn.ModuleList()
        self.steps: list[tuple[Callable[..., Tensor], list[int], int]] = []
        for op in graph.operators:
            code = self._model.operatorCodes[op.opcodeIndex]
            name = self._names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            if name != "SOFTMAX":
                self.steps.append((getattr(self, f"_{name.lower()}")(op), self._inputs(op), int(op.outputs[0])))
        del self._model, self._tensors, self._names

    def forward(self, x: Tensor) -> Tensor:
        """Logits, or what an autoencoder gives back."""
        held = {self.first: x}
        for step, inputs, out in self.steps:
            held[out] = step(*(held[i] for i in inputs))
        return held[out]

    def _inputs(self, op: Any) -> list[int]:
        """The operands that are no constants."""
        return [int(i) for i in op.inputs if i >= 0 and self._data(int(i)) is None]

    def _data(self, i: int) -> Any:
        """A constant; float32 where weights are stored as scaled integers, as the keywords' are."""
        tensor = self._tensors[i]
        data = self._model.buffers[tensor.buffer].data
        if data is None or not len(data):
            return None
        kind = {0: np.float32, 2: np.int32, 9: np.int8}[tensor.type]
        held = np.frombuffer(np.asarray(data, np.uint8).tobytes(), kind).reshape(tensor.shape)
        if kind is not np.int8:
            return held
        along = [1] * held.ndim
        along[tensor.quantization.quantizedDimension] = -1
        assert not np.any(tensor.quantization.zeroPoint)
        return held.astype(np.float32) * np.asarray(tensor.quantization.scale, np.float32).reshape(along)

    def _add_part(self, part: nn.Module, weight: Any, bias: Any) -> nn.Module:
        part.load_state_dict({"weight": torch.tensor(np.ascontiguousarray(weight)), "bias": torch.tensor(bias)})
        self.parts.append(part)
        return part

    def _convolution(self, op: Any, weight: Any, groups: int) -> Callable[..., Tensor]:
        """Weights ``[O, I / groups, KH, KW]``; SAME padding has its odd element at the end."""
        o, options = len(weight), op.builtinOptions
        stride, kernel = (options.strideH, options.strideW), weight.shape[2:]
        shape = self._tensors[op.inputs[0]].shape
        convolution = nn.Conv2d(weight.shape[1] * groups, o, kernel, stride, groups=groups)
        part = self._add_part(convolution, weight, self._data(int(op.inputs[2])))
        pads = _same(shape[1:3], kernel, stride) if options.padding == 0 else (0, 0, 0, 0)
        activation = _activation(options)
        return lambda x: activation(part(F.pad(x, pads) if any(pads) else x))

    def _conv_2d(self, op: Any) -> Callable[..., Tensor]:
        return self._convolution(op, self._data(int(op.inputs[1])).transpose(0, 3, 1, 2), 1)

    def _depthwise_conv_2d(self, op: Any) -> Callable[..., Tensor]:
        weight = self._data(int(op.inputs[1])).transpose(3, 0, 1, 2)
        return self._convolution(op, weight, int(self._tensors[op.inputs[0]].shape[3]))

    def _fully_connected(self, op: Any) -> Callable[..., Tensor]:
        weight = self._data(int(op.inputs[1]))
        part = self._add_part(nn.Linear(*weight.shape[::-1]), weight, self._data(int(op.inputs[2])))
        activation = _activation(op.builtinOptions)
        return lambda x: activation(part(x))

    def _add(self, op: Any) -> Callable[..., Tensor]:
        activation = _activation(op.builtinOptions)
        return lambda x, y: activation(x + y)

    def _average_pool_2d(self, op: Any) -> Callable[..., Tensor]:
        kernel = (op.builtinOptions.filterHeight, op.builtinOptions.filterWidth)
        return lambda x: F.avg_pool2d(x, kernel)

    def _reshape(self, op: Any) -> Callable[..., Tensor]:
        """To a vector, of values that have one place; or, of an input, from a vector to one channel."""
        shape = [int(d) for d in self._tensors[op.outputs[0]].shape]
        if len(shape) == 4:
            assert shape[3] == 1
            return lambda x: x.reshape(-1, 1, shape[1], shape[2])
        return lambda x: x.flatten(1)


def _names(schema: Any) -> dict[int, str]:
    return {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def _activation(options: Any) -> Callable[[Tensor], Tensor]:
    kind = options.fusedActivationFunction
    assert kind in (0, RELU), f"activation {kind}"
    return F.relu if kind == RELU else lambda x: x


def _same(size: Any, kernel: Any, stride: Any) -> tuple[int, int, int, int]:
    """Left, right, top, bottom."""
    found: list[int] = []
    for length, k, s in zip(size[::-1], kernel[::-1], stride[::-1], strict=True):
        total = max((-(-int(length) // s) - 1) * s + k - int(length), 0)
        found += [total // 2, total - total // 2]
    return found[0], found[1], found[2], found[3]
