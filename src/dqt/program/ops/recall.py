"""What an earlier run left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Recall(Operator):
    """The integers of a state, as the run found it. ``state`` names a state, not a value."""

    state: str
    out: str

    def output_shape(self, scope: Scope) -> Shape:
        """The state's; see :meth:`Operator.output_shape`."""
        state, out = scope.state(self.state), scope.values[self.out]
        same = (out.scale, out.zero, out.lo, out.hi) == (state.scale, state.zero, state.lo, state.hi)
        require(
            same, f"{out.name} has another scale, zero or interval than the state {state.name}: recalling keeps them"
        )
        return state.shape

    def run(self, run: Execution) -> Any:
        """The same integers."""
        return run.state[self.state]
