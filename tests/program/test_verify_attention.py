"""The verifier on norms, softmax, products of activations and embeddings: each defect, made by one change, is named."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from dqt.program.ops.add import Add
from dqt.program.ops.embedding import Embedding
from dqt.program.ops.mat_mul import MatMul
from dqt.program.ops.normalize import Normalize
from dqt.program.ops.softmax import Softmax
from dqt.program.planned import accumulator_bits
from dqt.program.program import Program, ProgramError
from dqt.testing import Builder
from dqt.testing.attention import embedding, mat_mul, normalize, softmax
from tests.program.test_verify import HUGE, Change, op, put, result

STREAM = (-32767, 32767)


@cache
def sample() -> Program:
    """Tokens, a stream of integers, its norm, and attention of two heads."""
    b = Builder(22, (5, 6), signed=True)
    tokens = b.tokens("tokens", (5,), 0, 299)
    stream = b.binary(
        Add, b.linear("v0", 6, integers=STREAM), embedding(b, tokens, 6, integers=STREAM), integers=STREAM
    )
    x = normalize(b, stream, 1, affine=(1,))
    heads = b.transpose(b.reshape(x, (5, 2, 3)), (1, 0, 2))
    scores = mat_mul(b, heads, b.transpose(heads, (0, 2, 1)), integers=STREAM)
    y = mat_mul(b, softmax(b, scores), heads)
    return b.build(b.linear(b.reshape(b.transpose(y, (1, 0, 2)), (5, 6)), 2, integers=True))


def weights_of_the_product(program: Program) -> dict[str, object]:
    product = next(each.layer for each in program.ops if isinstance(each, MatMul))
    changed = tuple(replace(a, weights=1) if a.name == product else a for a in program.space.layers)
    return {"space": replace(program.space, layers=changed)}


DEFECTS: dict[str, tuple[Change, str]] = {
    # norms
    "norm axis": (op(Normalize, axis=2), "axis 2, need 0 to 1"),
    "norm axis below 0": (op(Normalize, axis=-1), "axis -1, need 0 to 1"),
    "norm groups": (op(Normalize, groups=4), r"4 groups do not divide dimension 1 of \(5, 6\)"),
    "norm no groups": (op(Normalize, groups=0), "0 groups do not divide"),
    "norm epsilon": (op(Normalize, epsilon=-1), "epsilon -1, need 0 or more"),
    "norm rank of m": (op(Normalize, m=lambda m: m[0]), r"m of shape \(6,\), need the dimensions of \(5, 6\)"),
    "norm length of m": (op(Normalize, m=lambda m: m[:, :3], c=lambda c: c[:, :3]), r"m of shape \(1, 3\), need"),
    "norm m and c": (op(Normalize, c=lambda c: c[:, :1]), r"m has shape \(1, 6\) and c \(1, 1\)"),
    "norm clamp": (op(Normalize, hi=256), r"clamp \[\d, 256\] does not lie in \[0, 255\]"),
    "norm shift": (op(Normalize, shift=0), "shift 0, need 1 to 32"),
    "norm overflows": (op(Normalize, c=put((0, 2), HUGE)), "acc \\* m \\+ c .* does not fit int64"),
    # softmax
    "softmax zero": (result(Softmax, zero=1), r"zero 1: need \[0, levels\], zero 0"),
    "softmax scale": (result(Softmax, scale=0.0039), "with scale 0.0039, need 1 / levels, levels 255 or more"),
    "softmax beyond 1": (result(Softmax, scale=0.25), "with scale 0.25, need 1 / levels, levels 255 or more"),
    "softmax fine": (result(Softmax, scale=2.0**-25), "with scale 2.98.*, need 1 / levels, levels 255 or more"),
    "softmax signed": (result(Softmax, lo=-255), r"writes v\d+ in \[-255, 255\]"),
    "softmax levels": (result(Softmax, hi=2**25, scale=2.0**-25), r"writes v\d+ in \[0, 33554432\]"),
    "softmax shift": (op(Softmax, shift=33), "shift 33, need 1 to 32"),
    "softmax m": (op(Softmax, m=-1), "m -1, need 0 to 2147483647"),
    "softmax large m": (op(Softmax, m=2**31), "m 2147483648, need 0 to 2147483647"),
    # products of activations
    "product of one dimension": (op(MatMul, b="v1"), r"reads the integers v1"),
    "product depth": (op(MatMul, b=lambda _: first_heads()), r"shapes \(2, 5, 3\) and \(2, 5, 3\) do not multiply"),
    "product of integers": (op(MatMul, a="v4"), "reads the integers v4: this operator takes codes alone"),
    "product overflows": (op(MatMul, c=HUGE), "acc \\* m \\+ c .* does not fit int64"),
    "product m": (op(MatMul, m=2**31), "m reaches 2147483648"),
    "product clamp": (op(MatMul, lo=-40000), "clamp .* does not lie in"),
    "product layer": (op(MatMul, layer="block.0"), "layer block.0: 2 instructions, need one"),
    # embeddings
    "embedding table": (op(Embedding, table=lambda t: t.reshape(-1)), "need .rows, features."),
    "embedding rows": (op(Embedding, table=lambda t: t[:299]), r"reads v\d+ in \[0, 299\], need indices in \[0, 298\]"),
    "embedding m": (op(Embedding, m=lambda _: np.ones(7, np.int32)), r"m, c of shapes \(7,\)"),
    "embedding of codes": (op(Embedding, x="v0"), "need indices in"),
    "embedding overflows": (op(Embedding, c=put(0, HUGE)), "does not fit int64"),
    # the space
    "weights of a product": (weights_of_the_product, "states 1 weights, its instruction has 0"),
}  # fmt: skip


def first_heads() -> str:
    """The first operand of the first product."""
    return next(each.a for each in sample().ops if isinstance(each, MatMul))


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_named(defect: str) -> None:
    change, message = DEFECTS[defect]
    with pytest.raises(ProgramError, match=message) as caught:
        replace(sample(), **change(sample()))
    assert len(str(caught.value)) < 400


def test_a_product_has_the_bits_of_its_bound() -> None:
    """5 products of 127 and 255 at most (a signed and an unsigned operand), and one bit for the sign."""
    b = Builder(23, (4, 5), signed=True)
    weights = softmax(b, b.rescale("v0", integers=STREAM))
    program = b.build(mat_mul(b, b.reshape(weights, (4, 5)), b.transpose("v0", (1, 0))))
    (product,) = program.layers
    assert accumulator_bits(program) == {product: (5 * 128 * 255 - 1).bit_length() + 1}
