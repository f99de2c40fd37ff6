"""A model in QDQ form in the making: real numbers between ``QuantizeLinear`` and ``DequantizeLinear``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.export.nodes import Nodes
from dqt.export.reals import WIDTH, Layer
from dqt.program.operator import Operator
from dqt.program.ops.quantize import Quantize
from dqt.program.program import Program
from dqt.program.values import Value

NEAR = 1e-3
"""A factor that differs less from 1 is 1: it stands for scales that agree, each rounded to an integer."""
SMALL = 0.02
"""An offset of a smaller part of a step is none: it is what roundings left."""
ENDLESS = 1 << 30
"""An interval that reaches as far needs no clip."""
Ins = Sequence[str]


class Maker(Nodes):
    """Nodes and constants so far. A value of the program is the float32 tensor of its name, of codes after Q and DQ.

    Attributes:
        codes: value -> its uint8 tensor, of those that are codes.
    """

    def __init__(self, program: Program, taken: set[str]) -> None:
        super().__init__(program, taken)
        self.tensors: list[Any] = []
        self.codes: dict[str, str] = {}

    def constant(self, array: npt.ArrayLike, dtype: Any = np.float32, name: str = "constant") -> str:
        """The name of a constant."""
        held, name = np.asarray(array, dtype=dtype, order="C"), self.name(name)
        self.tensors.append(self.onnx.numpy_helper.from_array(held, name))
        return name

    def ranked(self, x: str, out: str) -> str:
        """An operand with the dimensions of the result: a program broadcasts samples, ONNX whole tensors."""
        shape, rank = self.values[x].shape, len(self.values[out].shape)
        if len(shape) == rank:
            return x
        return self.node("Reshape", [x, self.constant([0, *[1] * (rank - len(shape)), *shape], np.int64)])

    def scaled(self, x: str, factor: npt.ArrayLike) -> str:
        """``x * factor``, of real numbers."""
        return x if one(factor) else self.node("Mul", [x, self.constant(factor)])

    def define(
        self, op: Operator, kind: str, ins: Ins, factor: npt.ArrayLike = 1.0, offset: npt.ArrayLike = 0.0, **given: Any
    ) -> None:
        """What ``op`` writes is ``kind(ins) * factor + offset``, in its interval; codes are rounded.

        Args:
            given: attributes of the node.
        """
        value = self.values[str(op.writes())]
        steps: list[tuple[str, list[str], dict[str, Any]]] = [(kind, list(ins), given)]
        if not one(factor):
            steps.append(("Mul", [self.constant(factor)], {}))
        if np.abs(np.asarray(offset)).max() > SMALL * value.scale:
            steps.append(("Add", [self.constant(offset)], {}))
        steps += [("Clip", [self.constant(bound) for bound in bounds], {}) for bounds in self._clips(op, value)]
        x = ""
        for i, (each, more, attributes) in enumerate(steps):
            named = value.name if i == len(steps) - 1 and not value.coded else self.name(f"{value.name}.real")
            x = self.node(each, more if i == 0 else [x, *more], named, **attributes)
        if value.coded:
            self._quantized(x, value)

    def _clips(self, op: Operator, value: Value) -> list[list[float]]:
        """The interval of a result, in real numbers, where it is one."""
        rounds = hasattr(op, "lo")
        if not (rounds or isinstance(op, Quantize)):
            return []
        lo, hi = (getattr(op, end) if rounds else getattr(value, end) for end in ("lo", "hi"))
        whole = (lo, hi) == (0, (1 << WIDTH) - 1) if value.coded else min(-lo, hi) >= ENDLESS
        return [] if whole else [[value.scale * (end - value.zero) for end in (lo, hi)]]

    def _quantized(self, real: str, value: Value) -> None:
        """To codes and back. A zero point that is no code is the nearest that is one, and an offset."""
        inside = min(max(value.zero, 0), (1 << WIDTH) - 1)
        far = value.scale * (inside - value.zero)
        if far:
            real = self.node("Sub", [real, self.constant(far)])
        scale = self.constant(value.scale, name=f"{value.name}.scale")
        zero = self.constant(inside, np.uint8, f"{value.name}.zero")
        codes = self.node("QuantizeLinear", [real, scale, zero], self.name(f"{value.name}.codes"))
        self.codes[value.name] = codes
        y = self.node("DequantizeLinear", [codes, scale, zero], self.name(f"{value.name}.near") if far else value.name)
        if far:
            self.node("Add", [y, self.constant(far)], value.name)

    def layer(self, layer: Layer, x: str, out: str, *, transposed: bool = False) -> list[str]:
        """Dequantized weight and bias; ``transposed``: the weight ``[I, O]`` of a product with the last dimension."""
        bias = layer.scale * np.float32(self.values[x].scale)
        weight = layer.weight.T if transposed else layer.weight
        parts = (("weight", weight, layer.scale, int(transposed)), ("bias", layer.bias, bias, 0))
        made = []
        for part, codes, scales, axis in parts:
            zero = np.zeros(len(scales), dtype=codes.dtype)
            ins = [
                self.constant(codes, codes.dtype, f"{out}.{part}.codes"),
                self.constant(scales, name=f"{out}.{part}.scale"),
                self.constant(zero, codes.dtype, f"{out}.{part}.zero"),
            ]
            made.append(self.node("DequantizeLinear", ins, self.name(f"{out}.{part}"), axis=axis))
        return made


def one(factor: npt.ArrayLike) -> bool:
    """Whether a factor is 1."""
    return bool(np.abs(np.asarray(factor) - 1).max() < NEAR)
