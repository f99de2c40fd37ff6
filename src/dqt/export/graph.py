"""An ONNX graph in the making, and how the integers of a program lie in it.

Codes and weights are uint8, weights with a zero point in the middle. :mod:`dqt.export.products` says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.plan import Pair
from dqt.export.names import WIDTHS, output_names
from dqt.export.nodes import Nodes
from dqt.program.program import Program
from dqt.program.values import Value

LIFT = 1 << 62
"""Added before a shift, so that what is shifted is not negative; a multiple of every power of two that divides it."""
SINGLE = 1 << 24
"""Integers of a smaller magnitude are exact in float32."""
UINT4 = 4
"""The widest weights that a smaller type than uint8 holds."""


class Graph(Nodes):
    """Nodes and constants so far. A value of the program is a tensor of its name: codes are uint8, integers int32.

    Attributes:
        pairs: (weight, activation) width of each layer.
        outputs: what each output of the program is called.
        chosen: layer -> the int64 tensor ``[N]`` of its widths, where samples choose.
        signed: whether large products have an operand of int8, which is fast, and exact on some processors.
        asked: the kinds of products that have or could have one.
    """

    def __init__(self, program: Program, pairs: dict[str, Pair]) -> None:
        self.outputs = output_names(program)
        super().__init__(program, {each.name for each in program.inputs} | set(self.outputs.values()) | {WIDTHS})
        self.pairs = pairs
        self.constants: dict[str, Any] = {}
        self.chosen: dict[str, str] = {}
        self.signed = True
        self.asked: dict[Any, None] = {}
        self._held: dict[tuple[Any, ...], str] = {}

    # tensors

    def constant(self, array: npt.ArrayLike, dtype: Any = None) -> str:
        """The name of a constant; equal ones are stored once."""
        held = np.asarray(array, dtype=dtype, order="C")
        return self._hold(held, held.dtype.str, lambda name: self.onnx.numpy_helper.from_array(held, name))

    def _hold(self, array: npt.NDArray[Any], kind: str | int, tensor: Callable[[str], Any]) -> str:
        key = (kind, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._held:
            name = self._held[key] = self.name(f"constant.{len(self.constants)}")
            self.constants[name] = tensor(name)
        return self._held[key]

    def narrow_constant(self, codes: npt.NDArray[np.uint8], bits: int) -> str:
        """Codes of few bits, stored in 4 or 2 bits each and cast to uint8 by the graph."""
        if bits > UINT4:
            return self.constant(codes)
        size, kind = (2, self.onnx.TensorProto.UINT2) if bits <= 2 else (4, self.onnx.TensorProto.UINT4)
        make, held = self.onnx.helper.make_tensor, packed(codes, size)
        return self.cast(self._hold(codes, kind, lambda name: make(name, kind, codes.shape, held, raw=True)), "UINT8")

    # int64

    def times(self, x: str, factor: int) -> str:
        """``x * factor``."""
        return self.node("Mul", [x, self.constant(np.int64(factor))])

    def minus(self, x: str, less: int) -> str:
        """``x - less``."""
        return self.node("Sub", [x, self.constant(np.int64(less))]) if less else x

    def right(self, x: str, k: str | int, *, signed: bool = False) -> str:
        """``x >> k`` of int64 from 0; ``signed``: from ``-2^62`` below ``2^62``. ONNX shifts unsigned numbers alone."""
        shift = self.constant(np.uint64(k)) if isinstance(k, int) else self.cast(k, "UINT64")
        raised = self.node("Add", [x, self.constant(np.int64(LIFT))]) if signed else x
        y = self.cast(self.node("BitShift", [self.cast(raised, "UINT64"), shift], direction="RIGHT"), "INT64")
        if not signed:
            return y
        lift = self.node("BitShift", [self.constant(np.uint64(LIFT)), shift], direction="RIGHT")
        return self.node("Sub", [y, self.cast(lift, "INT64")])

    def halves_up(self, x: str, shift: int) -> str:
        """``x / 2^shift``, rounded half up, of int64 from 0 to ``2^63 - 2^(shift - 1) - 1``."""
        return self.right(self.node("Add", [x, self.constant(np.int64((1 << shift) >> 1))]), shift)

    # values

    def value(self, name: str) -> Value:
        """What the program declares of a value."""
        return self.values[name]

    def int32(self, name: str, less: int = 0) -> str:
        """The integers of a value, less a number, as int32."""
        tensor = self.cast(name, "INT32") if self.values[name].coded else name
        return self.node("Sub", [tensor, self.constant(less, np.int32)]) if less else tensor


def packed(codes: npt.NDArray[np.uint8], bits: int) -> bytes:
    """Codes of 4 or 2 bits side by side, the first in the lowest bits of a byte."""
    count = 8 // bits
    flat = codes.reshape(-1)
    rows = np.pad(flat, (0, -len(flat) % count)).reshape(-1, count)
    return bytes(np.bitwise_or.reduce(rows << np.arange(0, 8, bits, dtype=np.uint8), axis=1).astype(np.uint8))
