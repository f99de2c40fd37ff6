"""What transformers are made of, in C: attention.c."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqt.arith.powers import power_table
from dqt.arith.roots import added_energy, root_table
from dqt.export.c99.code import Code, literal
from dqt.export.c99.layer import widths
from dqt.export.c99.layout import spread, strides
from dqt.program.operator import Operator
from dqt.program.ops.embedding import Embedding
from dqt.program.ops.mat_mul import MatMul
from dqt.program.ops.normalize import Normalize
from dqt.program.ops.softmax import Softmax, levels_of
from dqt.program.schema import size


def embedding(code: Code, op: Embedding) -> None:
    """See dqt_embed."""
    tokens, features = size(code.values[op.x].shape), op.table.shape[1]
    constants = (code.constant(op.m, np.int32), code.constant(op.c, np.int64), int(len(op.m) > 1))
    table = code.constant(op.table, np.int8)
    code.call("dqt_embed", code.value(op.x), tokens, code.value(op.out), features, table, *constants, code.rounding(op))


def mat_mul(code: Code, op: MatMul) -> None:
    """See dqt_multiply_matrices."""
    a, b, out = (code.values[name] for name in (op.a, op.b, op.out))
    lead = out.shape[:-2]
    walk = code.walk(lead, *(spread(x.shape, strides(x.shape), len(out.shape))[:-2] for x in (a, b)))
    sizes = (*out.shape[-2:-1], a.shape[-1], out.shape[-1], a.zero, b.zero, code.n)
    product = code.struct("dqt_product", *sizes, literal(op.m), literal(op.c), code.rounding(op, typed=False))
    places = (code.data(op.a), code.data(op.b), code.value(op.out))
    code.call("dqt_multiply_matrices", walk, product, *places, *widths(code, op))


def normalize(code: Code, op: Normalize) -> None:
    """See dqt_norms: one walk over rows, one inside of a row; along both, where values and constants lie."""
    value, axis = code.values[op.x], op.axis
    far, constants = strides(value.shape), spread(op.m.shape, strides(op.m.shape), len(value.shape))
    length = value.shape[axis] // op.groups
    groups = (op.groups,), (length * far[axis],), (length * constants[axis],)
    rows = code.walk(*([*part[:axis], *more] for part, more in zip((value.shape, far, constants), groups, strict=True)))
    row = code.walk([length, *value.shape[axis + 1 :]], far[axis:], constants[axis:])
    added = added_energy(op.count(value), op.epsilon, op.fraction)
    held = [code.constant(op.m, np.int32), code.constant(op.c, np.int64), code.constant(root_table(), np.int32)]
    rounding = code.rounding(op, typed=False)
    norm = code.struct("dqt_norm", value.zero, int(op.center), literal(added), *held, rounding)
    code.call("dqt_norms", rows, row, norm, code.value(op.x), code.value(op.out))


def softmax(code: Code, op: Softmax) -> None:
    """See dqt_softmax."""
    x, table = code.values[op.x].shape, code.constant(power_table(), np.int32)
    out = code.values[op.out]
    numbers = (op.m, op.shift, levels_of(out), out.hi)
    code.call("dqt_softmax", size(x[:-1]), x[-1], code.value(op.x), code.value(op.out), *numbers, table)


FORMS: dict[type[Operator], Any] = {
    Embedding: embedding, MatMul: mat_mul, Normalize: normalize, Softmax: softmax,
}  # fmt: skip
