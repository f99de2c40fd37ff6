"""Running sums along a dimension: windows of an average pool that all begin at the first element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import fx

from dqt.arith import fixed
from dqt.nn.calls import is_float
from dqt.nn.graph import Node
from dqt.nn.integers import Codes
from dqt.nn.moves import reshaped, transposed
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.avg_pool import AvgPool

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _cumsum(b: Builder, call: fx.Node) -> str:
    """Sums of rows ``(1, lines, length)``; those of whole numbers are whole numbers."""
    source = call.args[0]
    assert isinstance(source, fx.Node)
    x, whole = b.operand(call, source), not is_float(source)
    axis, shape = b.placements.axis(call, source, int(b.arg(call, 1, "dim"))), b.captured.shapes[x]
    b.placements.put(call, b.placements.of(source))
    last = len(shape) - 1
    order = (*(i for i in range(last + 1) if i != axis), axis)
    moved = transposed(b, call, x, order)
    rows = (1, math.prod(shape) // shape[axis], shape[axis])
    lines = reshaped(b, call, moved, rows)
    quantizer = "int32" if whole else "signed"
    y = b.add(call, "cumsum", [lines], shape=rows, quantizer=quantizer, attrs={"whole": whole})
    return transposed(
        b, call, reshaped(b, call, y, b.captured.shapes[moved]), [order.index(i) for i in range(last + 1)]
    )


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    """In float64 where a program is mirrored, whose sums are exact."""
    if node.attrs["whole"]:
        return Signal(ins[0].raw.cumsum(-1), None, run.quantized)
    x = run.summed(ins[0].master)
    return Signal(x.cumsum(-1), net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    source, count = e.codes(node.ins[0]), node.shape[-1]
    whole = Codes(1.0, 0, min(source.lo, count * source.lo), max(source.hi, count * source.hi))
    codes = whole if node.attrs["whole"] else e.result_codes(node, e.reach(node) * count)
    scale = source.scale / codes.scale
    shift = fixed.choose_shift(scale)
    m = np.full((1, 1), round(scale * 2.0**shift), dtype=np.int32)
    c = np.full((1, 1), int(fixed.offset(0.0, codes.zero, shift)), dtype=np.int64)
    rows, columns = (np.stack([first, np.arange(1, n + 1)], axis=1).astype(np.int32) for n, first in _firsts(node))
    e.append(AvgPool(e.source(node), e.result(node, codes), rows, columns, m, c, shift, codes.lo, codes.hi))


def _firsts(node: Node) -> list[tuple[int, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    """For rows and for columns: how many there are, and where the window of each begins."""
    _, lines, length = node.shape
    return [(lines, np.arange(lines)), (length, np.zeros(length, dtype=np.int64))]


OPERATOR = Operator(
    kind="cumsum",
    fake=_fake,
    emit=_emit,
    aten={"aten.cumsum.default": _cumsum},
    whole={"aten.cumsum.default": _cumsum},
    own_quantizer=True,
    int32_result=True,
    keeps_sign=True,
)
