"""The decision of a controller inside of the network, or behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.values import Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True)
class ChooseLate(Operator):
    """One width for all ``layers`` of a sample, ``widths[argmax(logits)]``, the first on a tie.

    ``x`` are integers, not codes, of shape ``(len(widths),)``. Runs under plan "auto" alone; layers that no choice has
    reached run at ``first`` bits there. Without ``again``, ``layers`` come later in the program and take the width.
    With ``again``, all layers but the edges have run, at ``first`` bits, the least of ``widths``: a sample with a wider
    width runs again from its inputs, with all of them at it, and that run gives the program's result.
    """

    x: str
    layers: tuple[str, ...]
    widths: tuple[int, ...]
    first: int
    again: bool

    def output_shape(self, scope: Scope) -> Shape:
        """That of the logits; see :meth:`Operator.output_shape`."""
        space, x = scope.space, scope.values[self.x]
        require(not x.coded, f"reads the codes {x.name}: it takes integers, the outputs of a layer")
        given = set(self.layers)
        ordered = bool(given) and self.layers == tuple(name for name in space.chosen if name in given)
        require(ordered, "its layers are not some of the space's that carry a chosen width, in order")
        require(self.widths == space.choices, f"widths {self.widths}, but the space's choices are {space.choices}")
        require(
            x.shape == (len(self.widths),), f"reads {x.name} of shape {x.shape}, need {(len(self.widths),)}: widths"
        )
        require(self.first in self.widths, f"first {self.first}, need one of its widths {self.widths}")
        if self.again:
            require(self.layers == space.chosen, "runs samples again: need all layers that carry a chosen width")
            require(self.first == self.widths[0], f"first {self.first}, need {self.widths[0]}, the least of its widths")
            require(not scope.states, "runs samples again, and this program has states, which every run changes")
        return x.shape

    def run(self, run: Execution) -> Any:
        """Sets ``run.chosen``: nothing else comes of it."""
        table = run.constant(("choose",), lambda: run.xp.constant(np.array(self.widths, dtype=np.int8)))
        widths = run.xp.look_up(table, run.xp.first_argmax(run.data[self.x]))
        run.chosen = dict.fromkeys(self.layers, widths)
        return widths
