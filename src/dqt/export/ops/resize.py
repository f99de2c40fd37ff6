"""Images in another size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dqt.arith.resize import WEIGHT_BITS, neighbours
from dqt.export.graph import Graph
from dqt.program.ops.resize import Resize

OPERATOR = Resize


def add(g: Graph, op: Resize) -> None:
    """Two products with matrices of integer weights, whose rows add up to 2^11, and one rounding."""
    x, out = g.value(op.x), g.value(op.out)
    acc = g.cast(op.x, "INT64")
    acc = g.node("MatMul", [acc, g.constant(_weights(op, 1, x.shape[2], out.shape[2]).T)])
    acc = g.node("MatMul", [g.constant(_weights(op, 0, x.shape[1], out.shape[1])), acc])
    shift = 2 * WEIGHT_BITS
    half = 1 << (shift - 1)
    g.rounded(g.scaled([(acc, 1)], half, shift, (x.reach << shift) + half), x.lo, x.hi, op.out)


def _weights(op: Resize, side: int, inputs: int, outputs: int) -> npt.NDArray[np.int64]:
    """What each output takes of each input, int64 ``[outputs, inputs]`` (numerics.md, equations 31 and 32)."""
    step = (op.steps[2 * side], op.steps[2 * side + 1])
    first, second, weight = neighbours(inputs, outputs, step, corners=op.corners)
    index, found = np.arange(outputs), np.zeros((outputs, inputs), dtype=np.int64)
    found[index, first] += (1 << WEIGHT_BITS) - weight
    found[index, second] += weight
    return found
