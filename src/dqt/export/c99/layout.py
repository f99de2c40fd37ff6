"""How values lie in memory: row-major, but around convolutions with the channels of a place side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dqt.program.operator import Operator
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.choose import Choose
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.conv import Conv
from dqt.program.ops.embedding import Embedding
from dqt.program.ops.linear import Linear
from dqt.program.ops.mat_mul import MatMul
from dqt.program.ops.max_pool import MaxPool
from dqt.program.ops.normalize import Normalize
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.resize import Resize
from dqt.program.ops.softmax import Softmax
from dqt.program.ops.top_k import TopK
from dqt.program.ops.transpose import Transpose
from dqt.program.schema import size
from dqt.program.values import Shape, Value

WINDOWS = (AvgPool, Conv, MaxPool, Resize)
"""They are fastest where the channels of a place lie side by side."""
DENSE = (Choose, ChooseLate, Embedding, Linear, MatMul, Normalize, Softmax, TopK)
"""They take row-major values alone; any other operator takes both."""
MOVES = (Reshape, Transpose)
"""What they read may lie in another way than what they write."""


def channels_last(values: Mapping[str, Value], ops: Sequence[Operator]) -> frozenset[str]:
    """The values of 3 dimensions ``[C, H, W]`` that lie as ``[H, W, C]``: those of windows, and what meets them."""
    images = [(op, {name for name in touched(op) if len(values[name].shape) == 3}) for op in ops]
    dense = {name for op, names in images for name in names if isinstance(op, DENSE)}
    found = {name for op, names in images for name in names if isinstance(op, WINDOWS)}
    before = -1
    while before != len(found):
        before = len(found)
        for op, names in images:
            if names & found and not isinstance(op, (*DENSE, *MOVES)):
                found |= names
    return frozenset(found - dense)


def touched(op: Operator) -> tuple[str, ...]:
    """The values that an instruction reads or writes."""
    return (*op.reads(), *filter(None, [op.writes()]))


def order(shape: Shape, last: bool) -> tuple[int, ...]:
    """The dimensions from the outermost in memory to the innermost."""
    return (1, 2, 0) if last else tuple(range(len(shape)))


def strides(shape: Shape, last: bool = False) -> list[int]:
    """How far the next element of each dimension is."""
    if last:
        return [1, shape[2] * shape[0], shape[0]]
    return [size(shape[i + 1 :]) for i in range(len(shape))]


def spread(shape: Shape, far: Sequence[int], rank: int) -> list[int]:
    """Strides in a walk over ``rank`` dimensions over which it broadcasts: 0 where it has 1 element for all."""
    return [0] * (rank - len(shape)) + [0 if d == 1 else step for d, step in zip(shape, far, strict=True)]


def merged(dims: Sequence[int], *strides_: Sequence[int]) -> tuple[list[int], ...]:
    """The same walk over fewer dimensions, where one goes on as the one inside of it does."""
    rows: list[list[int]] = []
    for row in zip(dims, *strides_, strict=True):
        if row[0] == 1:
            continue
        if rows and all(a == b * row[0] for a, b in zip(rows[-1][1:], row[1:], strict=True)):
            rows[-1] = [rows[-1][0] * row[0], *row[1:]]
        else:
            rows.append(list(row))
    return tuple(list(column) for column in zip(*rows, strict=True)) if rows else tuple([] for _ in range(3))
