"""The entry from float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import FLOAT, Float32, Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Quantize(Operator):
    """A float32 input becomes codes: ``clip(rint(x * gain + bias) + zero, lo, hi)``, rint half to even.

    In float32: the product is rounded, then the sum; they are never fused.

    Attributes:
        x: the name of a float input.
        gain, bias: float32 ``[1]``, or one number for each entry of dimension ``axis`` of ``x`` after the batch.
    """

    OPERANDS: ClassVar[tuple[str, ...]] = ()  # ``x`` is an input of the program, which is no value of it

    x: str
    out: str
    gain: Float32
    bias: Float32
    axis: int

    def output_shape(self, scope: Scope) -> Shape:
        """The input's; see :meth:`Operator.output_shape`."""
        given = scope.input(self.x, FLOAT)
        scope.narrow(self.out)
        rank = len(given.shape)
        require(0 <= self.axis < rank, f"axis {self.axis}, need 0 to {rank - 1}")
        shapes = ((1,), (given.shape[self.axis],))
        legal = self.gain.shape in shapes and self.bias.shape == self.gain.shape
        require(legal, f"gain, bias of shapes {self.gain.shape}, {self.bias.shape}: need one of {shapes}")
        finite = bool(np.isfinite(self.gain).all() and np.isfinite(self.bias).all())
        require(finite, "a gain or a bias is not finite")
        return given.shape

    def run(self, run: Execution) -> Any:
        """Codes (docs/numerics.md, equation 37)."""
        x, value, out = run.inputs[self.x], run.value(self.out), run.empty(self.out)
        shape = tuple(-1 if i == self.axis else 1 for i in range(x.ndim - 1))
        gain = run.constant((self.out, "gain"), lambda: run.xp.constant(self.gain.reshape(shape)))
        bias = run.constant((self.out, "bias"), lambda: run.xp.constant(self.bias.reshape(shape)))
        for some in run.xp.blocks(len(out), size(value.shape)):
            out[some] = (run.xp.rint(x[some] * gain + bias) + value.zero).clip(value.lo, value.hi)
        return out


def plain_gain(scale: float) -> tuple[Float32, Float32]:
    """``gain`` and ``bias`` of an input whose scale is that of its codes: ``float32(1 / scale)`` and 0."""
    return np.array([1.0 / scale], dtype=np.float32), np.zeros(1, dtype=np.float32)
