"""The controller's decision."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.choose import Choose

OPERATOR = Choose


def add(g: Graph, op: Choose) -> None:
    """The first of the largest logits of each layer is its width, int64 ``[N]``."""
    logits = g.node("Reshape", [op.x, g.constant([0, len(op.layers), len(op.widths)], np.int64)])
    index = g.node("ArgMax", [logits], axis=2, keepdims=0, select_last_index=0)
    widths = g.node("Gather", [g.constant(op.widths, np.int64), index], axis=0)
    for i, layer in enumerate(op.layers):
        g.chosen[layer] = g.node("Gather", [widths, g.constant(i, np.int64)], axis=1)
