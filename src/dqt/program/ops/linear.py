"""Matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.arith.plan import Pair
from dqt.program.errors import require
from dqt.program.layered import Layered
from dqt.program.operator import Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Linear(Layered):
    """Matrix product over the last dimension. ``weight``: int8 ``[O, I]``. See :class:`Layered`."""

    def output_shape(self, scope: Scope) -> Shape:
        """The input's with ``O`` features; see :meth:`Operator.output_shape`."""
        x = scope.codes(self.x)
        require(self.weight.ndim == 2, f"weight of shape {self.weight.shape}, need [O, I]")
        self.check_weights(scope)
        count, depth = self.weight.shape
        require(x.shape[-1] == depth, f"weight reads {depth} features, but {x.name} has shape {x.shape}")
        return (*x.shape[:-1], count)

    def at_widths(self, run: Execution, x: Any, pair: Pair, out: Any, samples: Any) -> None:
        """See :meth:`Layered.at_widths`."""
        acc = run.xp.matmul(self.narrowed_input(run, x, pair[1]), self.factor(run, pair[0]))
        run.put(self.out, out, samples, self.requantized(run, acc, pair))
