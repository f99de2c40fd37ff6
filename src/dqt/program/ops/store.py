"""What a run leaves for the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.checks import check_same_scale
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Store(Operator):
    """A state becomes ``x``. It is the last instruction that names this state, which is not a value."""

    x: str
    state: str

    def output_shape(self, scope: Scope) -> Shape:
        """The state's; see :meth:`Operator.output_shape`."""
        state, x = scope.state(self.state), scope.values[self.x]
        check_same_scale(x, state.as_value(state.name))
        require(x.shape == state.shape, f"stores {x.name} of shape {x.shape}, but the state has shape {state.shape}")
        return state.shape

    def run(self, run: Execution) -> Any:
        """The same integers."""
        run.stored[self.state] = run.data[self.x]
        return run.data[self.x]
