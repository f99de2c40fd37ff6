"""An ONNX graph in the making, and how the integers of a program lie in it.

Codes and weights are uint8, weights with a zero point in the middle: ONNX Runtime multiplies uint8 by uint8 exactly in
all its kernels, while those for uint8 by int8 saturate on x86 processors without VNNI.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.plan import Pair
from dqt.export.names import WIDTHS, output_names
from dqt.export.nodes import Nodes
from dqt.program.program import Program
from dqt.program.values import Value

EXACT = 1 << 53
"""Integers of a smaller magnitude are exact in float64, in which sums and roundings are faster than in int64."""
LIFT = 1 << 62
"""Added before a shift, so that what is shifted is not negative; a multiple of every power of two that divides it."""
UINT4 = 4
"""The widest weights that a smaller type than uint8 holds."""


@dataclass(frozen=True)
class Scaled:
    """Integers before their last shift: a tensor, its type ("DOUBLE" or "INT64"), and what it is short of the integer.

    A float64 tensor holds ``v * 2^-shift``, an int64 tensor ``v``.
    """

    tensor: str
    shift: int
    double: bool


class Graph(Nodes):
    """Nodes and constants so far. A value of the program is a tensor of its name: codes are uint8, integers int32.

    Attributes:
        pairs: (weight, activation) width of each layer.
        outputs: what each output of the program is called.
        chosen: layer -> the int64 tensor ``[N]`` of its widths, where samples choose.
    """

    def __init__(self, program: Program, pairs: dict[str, Pair]) -> None:
        self.outputs = output_names(program)
        super().__init__(program, {each.name for each in program.inputs} | set(self.outputs.values()) | {WIDTHS})
        self.pairs = pairs
        self.constants: dict[str, Any] = {}
        self.chosen: dict[str, str] = {}
        self._held: dict[tuple[Any, ...], str] = {}

    # tensors

    def constant(self, array: npt.ArrayLike, dtype: Any = None) -> str:
        """The name of a constant; equal ones are stored once."""
        held = np.asarray(array, dtype=dtype, order="C")
        key = (held.dtype.str, held.shape, hashlib.sha256(held.tobytes()).digest())
        if key not in self._held:
            name = self.name(f"constant.{len(self.constants)}")
            self.constants[name] = self.onnx.numpy_helper.from_array(held, name)
            self._held[key] = name
        return self._held[key]

    def narrow_constant(self, codes: npt.NDArray[np.uint8], bits: int) -> str:
        """Codes of few bits, stored in 4 or 2 bits each and cast to uint8 by the graph."""
        if bits > UINT4:
            return self.constant(codes)
        size, kind = (2, self.onnx.TensorProto.UINT2) if bits <= 2 else (4, self.onnx.TensorProto.UINT4)
        name = self.name(f"constant.{len(self.constants)}")
        self.constants[name] = self.onnx.helper.make_tensor(name, kind, codes.shape, packed(codes, size), raw=True)
        return self.cast(name, "UINT8")

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

    # roundings

    def scaled(
        self, parts: Sequence[tuple[str, npt.ArrayLike]], offset: npt.ArrayLike, shift: int, reach: int
    ) -> Scaled:
        """``sum(tensor * factor) + offset``, before ``>> shift``.

        Args:
            parts: integer tensors and their factors.
            reach: the largest magnitude of the sum, of its parts, and of the partial sums.
        """
        double = reach < EXACT
        unit, kind, dtype = (2.0**-shift, "DOUBLE", np.float64) if double else (1, "INT64", np.int64)
        terms = []
        for tensor, factor in parts:
            factors = np.asarray(factor, dtype=np.int64)
            terms.append(self.node("Mul", [self.cast(tensor, kind), self.constant(factors * unit, dtype)]))
        total = terms[0]
        for term in (*terms[1:], self.constant(np.asarray(offset, dtype=np.int64) * unit, dtype)):
            total = self.node("Add", [total, term])
        return Scaled(total, shift, double)

    def rounded(self, v: Scaled, lo: int, hi: int, out: str) -> None:
        """``clamp(v >> shift, lo, hi)`` becomes the value ``out``."""
        kind = "UINT8" if self.values[out].coded else "INT32"
        y = self._floor(v, lo, hi) if v.double else self._shifted(v, lo, hi)
        self.node("Cast", [y], out, to=getattr(self.onnx.TensorProto, kind))

    def _floor(self, v: Scaled, lo: int, hi: int) -> str:
        """In float64. A cast rounds towards zero, which is down where nothing is negative: then no Floor is needed."""
        last = hi + 1 - 2.0**-v.shift
        bounds = [self.constant(np.float64(bound)) for bound in (lo, last)]
        clipped = self.node("Clip", [v.tensor, *bounds])
        return clipped if lo >= 0 else self.node("Floor", [clipped])

    def _shifted(self, v: Scaled, lo: int, hi: int) -> str:
        """In int64: clamp first, then shift numbers that are not negative; ONNX shifts unsigned integers alone."""
        least, most = lo << v.shift, ((hi + 1) << v.shift) - 1
        clamped = self.node("Clip", [v.tensor, *(self.constant(np.int64(bound)) for bound in (least, most))])
        positive = self.cast(self.node("Sub", [clamped, self.constant(np.int64(least))]), "UINT64")
        y = self.node("BitShift", [positive, self.constant(np.uint64(v.shift))], direction="RIGHT")
        return self.node("Add", [self.cast(y, "INT64"), self.constant(np.int64(lo))])


def packed(codes: npt.NDArray[np.uint8], bits: int) -> bytes:
    """Codes of 4 or 2 bits side by side, the first in the lowest bits of a byte."""
    count = 8 // bits
    flat = codes.reshape(-1)
    rows = np.pad(flat, (0, -len(flat) % count)).reshape(-1, count)
    return bytes(np.bitwise_or.reduce(rows << np.arange(0, 8, bits, dtype=np.uint8), axis=1).astype(np.uint8))
