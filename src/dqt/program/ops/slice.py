"""A part of a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.checks import check_range, check_same_scale
from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class Slice(Operator):
    """``x[:, start:stop:step, ...]``: one triple per dimension after the batch; steps are positive."""

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
        bounds = list(zip(self.starts, self.stops, x.shape, strict=True))
        inside = all(0 <= first < last <= d for first, last, d in bounds)
        require(inside, f"{self.starts} to {self.stops} is empty or not inside {x.shape}")
        return tuple(-(-(last - first) // step) for (first, last, _), step in zip(bounds, self.steps, strict=True))

    def run(self, run: Execution) -> Any:
        """The same integers."""
        triples = zip(self.starts, self.stops, self.steps, strict=True)
        return run.data[self.x][(slice(None), *(slice(*triple) for triple in triples))]
