"""Operands of an elementwise operator."""

from __future__ import annotations

import numpy as np

from dqt.export.graph import Graph


def ranked(g: Graph, name: str, out: str, tensor: str = "") -> str:
    """An operand with the number of dimensions of the result: a program broadcasts samples, ONNX whole tensors.

    Args:
        tensor: what holds its integers, if it is not of their name.
    """
    shape, rank = g.value(name).shape, len(g.value(out).shape)
    if len(shape) == rank:
        return tensor or name
    return g.node("Reshape", [tensor or name, g.constant([0, *[1] * (rank - len(shape)), *shape], np.int64)])
