"""The decision of a controller inside of the network, or behind it."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.choose_late import ChooseLate

OPERATOR = ChooseLate


def add(g: Graph, op: ChooseLate) -> None:
    """The first of the largest logits is the width of all its layers, int64 ``[N]``."""
    index = g.node("ArgMax", [op.x], axis=1, keepdims=0, select_last_index=0)
    widths = g.node("Gather", [g.constant(op.widths, np.int64), index], axis=0)
    g.chosen |= dict.fromkeys(op.layers, widths)
