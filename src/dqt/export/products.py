"""Products of integers in ONNX: uint8 by uint8, and uint8 by int8 where the processor adds such products exactly.

Processors with VNNI multiply uint8 by int8 more than twice as fast as uint8 by uint8. With AVX2 and without VNNI, ONNX
Runtime's kernels for uint8 by int8 add two products in 16 bits, which saturate; those for uint8 by uint8 do not. A
model does not know its processor. So it computes one small product whose sums saturate where any do, and compares it
with the exact integers; an ``If`` around the whole network reads the answer: engines choose layouts and fuse operators
within a branch. Both branches read the same constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dqt.export.alike import Numbers
from dqt.export.graph import Graph
from dqt.export.packages import package
from dqt.program.values import FLOAT

LEAST_MACS = 1 << 18
"""Smaller products have no second branch: an ``If`` costs as much as it gains."""
EXACT = "exact."
"""How the tensors are called that say whether fast products do not saturate."""
MIDDLE = 128
"""What an int8 operand is less than the uint8 one that it stands for."""
DEPTH, COLUMNS = 64, 16
"""Of the product that shows saturation."""
PART = 2.0**-13
"""Of the largest sum of that product, as codes hold it."""
ROWS = (1, 8)
"""Engines have kernels of their own for a single row."""


@dataclass(frozen=True)
class Kind:
    """An operator of integer products.

    Attributes:
        name: of the ONNX operator.
        signed: which of its operands the fast form has as int8. Kernels take uint8 on their left and int8 on their
            right; ``ConvInteger`` has the weights on the left.
    """

    name: str
    signed: int


CONV, MATMUL, ROUNDED = Kind("ConvInteger", 0), Kind("MatMulInteger", 1), Kind("QLinearConv", 1)


def product(g: Graph, kind: Kind, ins: tuple[str, str], zeros: tuple[int, int], macs: int, **attributes: Any) -> str:
    """Append ``kind`` of two uint8 tensors with their zero points; the name of its int32 result.

    Args:
        macs: multiplications per sample.
        attributes: of the operator.
    """
    operands, points = list(ins), [np.uint8(zero) for zero in zeros]
    if fast(g, kind, macs):
        operands[kind.signed] = as_int8(g, ins[kind.signed])
        points[kind.signed] = np.int8(zeros[kind.signed] - MIDDLE)  # type: ignore[call-overload]
    return g.node(kind.name, [*operands, *(g.constant(point) for point in points)], **attributes)


def rounded_product(
    g: Graph, ins: tuple[str, str], zeros: tuple[int, int], found: Numbers, zero: int, macs: int, **attributes: Any
) -> str:
    """Append ``QLinearConv`` of two uint8 tensors: codes, uint8 of the zero point ``zero``.

    Its scales of operands and result are 1, that of the weights is the multiplier (docs/numerics.md, fact 13).
    """
    x, weight = ins
    point: Any = np.uint8(zeros[1])
    if fast(g, ROUNDED, macs):
        weight, point = as_int8(g, weight, zeros[1]), np.int8(0)
    one, bias = g.constant(np.float32(1)), g.constant(found.bias)
    given = [x, one, g.constant(np.uint8(zeros[0])), weight, g.constant(found.scale), g.constant(point)]
    return g.node(ROUNDED.name, [*given, one, g.constant(np.uint8(zero)), bias], **attributes)


def fast(g: Graph, kind: Kind, macs: int) -> bool:
    """Whether a product has an operand of int8 here; the graph notes that it could."""
    if macs < LEAST_MACS:
        return False
    g.asked[kind] = None
    return g.signed


def as_int8(g: Graph, x: str, less: int = MIDDLE) -> str:
    """``x - less`` of uint8 as int8: modulo 256, and the bits are read as signed."""
    return g.cast(g.node("Add", [x, g.constant(np.uint8(256 - less))]), "INT8")


def exact(g: Graph, kinds: Iterable[Kind]) -> str:
    """Whether this processor's fast products do not saturate, a boolean; appends the nodes.

    Its operands depend on the model's input, so that no optimizer computes the answer where the model is made ready:
    an optimized model may be saved and run elsewhere. Neither are they constants, whose type an optimizer may change.
    """
    one = _one(g)
    answers = []
    for kind in kinds:
        found = [_unsaturated(g, kind, one, rows) for rows in ROWS]
        answers.append(g.node("And", found, g.name(f"{EXACT}{kind.name}")))
    answer = answers[0]
    for other in answers[1:]:
        answer = g.node("And", [answer, other])
    return answer


def _one(g: Graph) -> str:
    """uint8 1, by what nobody knows before the model runs; the input may be of no sample, or NaN."""
    first = g.program.inputs[0]
    rank = 1 + len(first.shape)
    starts, ends = (g.constant([bound] * rank, np.int64) for bound in (0, 1))
    v = g.node("ReduceSum", [g.node("Slice", [first.name, starts, ends])], keepdims=0)
    if first.kind == FLOAT:
        v = g.node("IsNaN", [v])
    return g.node("BitwiseOr", [g.cast(g.cast(v, "BOOL"), "UINT8"), g.constant(np.uint8(1))])


def _unsaturated(g: Graph, kind: Kind, one: str, rows: int) -> str:
    """Whether ``DEPTH`` products of the largest numbers add up."""
    left, right = (rows, DEPTH), (DEPTH, COLUMNS)
    unsigned = g.node("Mul", [one, g.constant(np.uint8(255))])
    signed = g.cast(g.node("Mul", [one, g.constant(np.uint8(127))]), "INT8")
    wanted: Any = np.int32(DEPTH * 255 * 127)
    if kind is CONV:
        x = g.node("Expand", [signed, g.constant([1, DEPTH, COLUMNS, 1], np.int64)])
        y = g.node(kind.name, [x, g.node("Expand", [unsigned, g.constant([*left, 1, 1], np.int64)])])
    elif kind is ROUNDED:
        x = g.node("Expand", [unsigned, g.constant([1, DEPTH, rows, 1], np.int64)])
        w = g.node("Expand", [signed, g.constant([COLUMNS, DEPTH, 1, 1], np.int64)])
        scale = g.constant(np.float32(PART))
        unit, none = g.constant(np.float32(1)), g.constant(np.uint8(0))
        y = g.node(kind.name, [x, unit, none, w, scale, g.constant(np.int8(0)), unit, none])
        y, wanted = g.cast(y, "INT32"), np.int32(np.rint(wanted * PART))
    else:
        ins = [g.node("Expand", [x, g.constant(shape, np.int64)]) for x, shape in ((unsigned, left), (signed, right))]
        y = g.node(kind.name, ins)
    least = g.node("ReduceMin", [y], keepdims=0)
    return g.node("Equal", [least, g.constant(wanted)])


def answered(model: bytes, answer: bool) -> bytes:
    """A model in which the question of :func:`exact` is answered: to test and to measure either branch."""
    onnx = package("onnx")
    read = onnx.load_from_string(model)
    asked = [node for node in read.graph.node if node.output[0].startswith(EXACT)]
    read.graph.initializer.extend(onnx.numpy_helper.from_array(np.array(answer), node.output[0]) for node in asked)
    for node in asked:
        read.graph.node.remove(node)
    return bytes(read.SerializeToString())
