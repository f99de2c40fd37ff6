"""The one entry from float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import size
from dqt.program.values import INPUT, Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Quantize(Operator):
    """The float32 input becomes codes: ``clip(rint(x * float32(1/step)) + zero, 0, 2^n - 1)``, rint half to even."""

    OPERANDS: ClassVar[tuple[str, ...]] = ()  # ``x`` is the program's input, which is no value of it

    x: str
    out: str

    def output_shape(self, scope: Scope) -> Shape:
        """The input's; see :meth:`Operator.output_shape`."""
        require(self.x == INPUT, f"reads {self.x!r}, need {INPUT!r}")
        scope.narrow(self.out)
        return scope.input_shape

    def run(self, run: Execution) -> Any:
        """Codes (docs/numerics.md, equation 1)."""
        value, out = run.value(self.out), run.empty(self.out)
        lo, hi = value.interval(run.n)
        factor = reciprocal(value.step)
        for some in run.xp.blocks(len(out), size(value.shape)):
            out[some] = (run.xp.rint(run.x[some] * factor) + value.zero).clip(lo, hi)
        return out


def reciprocal(step: float) -> float:
    """``float32(1 / step)``, the factor of the input's quantization, as every engine computes it."""
    return float(np.float32(1.0 / step))
