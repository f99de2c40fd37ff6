"""A part of a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.arith.bounds import INT64
from dqt.program.checks import check_range, check_same_scale
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution

END = INT64
"""A stop that means the end of a dimension, whatever its size."""


@dataclass(frozen=True)
class Slice(Operator):
    """``x[:, start:stop:step, ...]``: one triple per dimension after the batch; steps are positive.

    Negative starts and stops count from the end, as in Python; a stop of ``2^63 - 1`` is the end.
    """

    x: str
    out: str
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

    def output_shape(self, scope: Scope) -> Shape:
        """How much the triples select; see :meth:`Operator.output_shape`."""
        x = scope.ranked(self.x)
        check_same_scale(x, scope.values[self.out])
        lengths = {len(self.starts), len(self.stops), len(self.steps)}
        require(lengths == {len(x.shape)}, f"need one start, stop and step for each dimension of {x.shape}")
        check_range("steps", self.steps, 1)
        bounds = self._bounds(x.shape)
        inside = all(0 <= first < last <= d for (first, last), d in zip(bounds, x.shape, strict=True))
        require(inside, f"{self.starts} to {self.stops} is empty or not inside {x.shape}")
        return tuple(-(-(last - first) // step) for (first, last), step in zip(bounds, self.steps, strict=True))

    def _bounds(self, shape: Shape) -> list[tuple[int, int]]:
        """Starts and stops counted from the first element."""
        given = zip(self.starts, self.stops, shape, strict=True)
        return [(first + d * (first < 0), d if last == END else last + d * (last < 0)) for first, last, d in given]

    def run(self, run: Execution) -> Any:
        """The same integers."""
        bounds = self._bounds(run.value(self.x).shape)
        cuts = (slice(*both, step) for both, step in zip(bounds, self.steps, strict=True))
        return run.data[self.x][(slice(None), *cuts)]
