"""The controller's decision."""

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
class Choose(Operator):
    """For layer ``i``, the width ``widths[argmax(logits[i*K : (i+1)*K])]``, the first on a tie.

    ``x`` are integers, not codes, of shape ``(len(layers) * len(widths),)``. Runs under plan "auto" alone; the layers
    named come later in the program and take the sample's own width for weights and activations.
    """

    x: str
    layers: tuple[str, ...]
    widths: tuple[int, ...]

    def output_shape(self, scope: Scope) -> Shape:
        """That of the logits; see :meth:`Operator.output_shape`."""
        space, x = scope.space, scope.values[self.x]
        require(not x.coded, f"reads the codes {x.name}: it takes integers, the outputs of a layer")
        require(
            self.layers == space.chosen, "its layers are not those of the space that carry a chosen width, in order"
        )
        require(self.widths == space.choices, f"widths {self.widths}, but the space's choices are {space.choices}")
        logits = (len(self.layers) * len(self.widths),)
        require(x.shape == logits, f"reads {x.name} of shape {x.shape}, need {logits}: layers times widths")
        return x.shape

    def run(self, run: Execution) -> Any:
        """Sets ``run.chosen``: nothing else comes of it."""
        logits = run.data[self.x].reshape(-1, len(self.layers), len(self.widths))
        table = run.constant(("choose",), lambda: run.xp.constant(np.array(self.widths, dtype=np.int8)))
        widths = run.xp.look_up(table, run.xp.first_argmax(logits))
        run.chosen = {layer: widths[:, i] for i, layer in enumerate(self.layers)}
        return widths
