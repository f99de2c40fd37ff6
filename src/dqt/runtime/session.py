"""Runs of a program with states, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dqt.arith.errors import InputError
from dqt.arith.plan import PlanLike
from dqt.arith.whole import whole
from dqt.program.passes import Result

if TYPE_CHECKING:
    from dqt.runtime.runtime import Runtime

Ints = npt.NDArray[np.int32]


class Session:
    """A program's states between its runs, made by :meth:`dqt.Runtime.session`; of one thread at a time.

    Attributes:
        samples: of every call.
    """

    def __init__(self, run: Runtime, samples: int) -> None:
        self.samples = whole(samples, "the number of samples of a session")
        if self.samples < 1:
            raise InputError(f"a session of {samples} samples: need at least 1")
        self._run = run
        self._state: Mapping[str, Ints] | None = None

    def __call__(self, x: Any, plan: PlanLike = None, *, return_widths: bool = False) -> Any:
        """Run on ``x``, of :attr:`samples` samples, from the state that the last call left; as :class:`dqt.Runtime`.

        Raises:
            InputError, PlanError: as a :class:`dqt.Runtime`; the state is then the one before the call.
        """
        result = self.execute(x, plan)
        y = self._run.dequantized(result.codes)
        return (y, result.widths) if return_widths else y

    def execute(self, x: Any, plan: PlanLike = None) -> Result:
        """The same in integers: codes, widths and the states, which this session goes on with."""
        result = self._run.stateful(x, plan, self._state, samples=self.samples)
        self._state = result.state
        return result

    @property
    def state(self) -> dict[str, Ints]:
        """The states after the last call, int32 ``[samples, *shape]`` by name: copies; before the first, the start.

        A named dimension has the size of the last call, or that of the program. Assigning what a run of the same
        program left goes on from there.
        """
        if self._state is None:
            return self._run.states(None, self.samples)
        return {name: array.copy() for name, array in self._state.items()}

    @state.setter
    def state(self, given: Mapping[str, Any]) -> None:
        self._state = self._run.states(given, self.samples)

    def reset(self) -> None:
        """Back to the start."""
        self._state = None
