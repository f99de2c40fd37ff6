"""Operands of an elementwise operator."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph


def ranked(g: Graph, name: str, out: str) -> str:
    """An operand with the number of dimensions of the result: a program broadcasts samples, ONNX whole tensors."""
    shape, rank = g.value(name).shape, len(g.value(out).shape)
    if len(shape) == rank:
        return name
    return g.node("Reshape", [name, g.constant([0, *[1] * (rank - len(shape)), *shape], np.int64)])
