"""The exit to float."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph
from dqt.program.ops.dequantize import Dequantize

OPERATOR = Dequantize


def add(g: Graph, op: Dequantize) -> None:
    """``float32(q - zero) * float32(scale)``."""
    value = g.value(op.x)
    real = g.cast(g.int32(op.x, less=value.zero), "FLOAT")
    g.node("Mul", [real, g.constant(np.float32(value.scale))], g.outputs[op.name])
