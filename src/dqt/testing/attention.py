"""What transformers are made of, written by hand: norms, softmax, products of activations, embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dqt.program.ops.add import Add
from dqt.program.ops.embedding import Embedding
from dqt.program.ops.mat_mul import MatMul
from dqt.program.ops.normalize import Normalize
from dqt.program.ops.slice import END
from dqt.program.ops.softmax import Softmax
from dqt.program.program import Program
from dqt.program.values import Value
from dqt.testing.builder import Builder
from dqt.testing.draw import Integers, Shape
from dqt.testing.programs import random_interval, random_widths


def normalize(
    b: Builder, x: str, axis: int, *, groups: int = 1, center: bool = True, affine: Shape = (),
    integers: Integers = False,
) -> str:  # fmt: skip
    """A norm of the dimensions from ``axis`` on; ``affine``: which of them have constants of their own."""
    shape = b.values[x].shape
    constants = tuple(d if i in affine else 1 for i, d in enumerate(shape))
    zero = 0 if integers else b.either()
    k = b.rows(4 << 20, int(np.prod(constants)), zero, integers=integers, single=True)
    m, c = (k[name][0].reshape(constants) for name in ("m", "c"))
    out = b.value(shape, zero=zero, integers=integers)
    epsilon, fraction = int(b.rng.choice([0, 1, 1 << 20, 1 << 36])), int(b.rng.choice([0, 32, 62]))
    b.ops.append(Normalize(x, out, axis, groups, center, epsilon, fraction, m, c, k["shift"], **b.clamp(integers)))
    return out


def softmax(b: Builder, x: str, *, levels: int = 0) -> str:
    """Softmax over the last dimension, as codes or (``levels``) as integers up to so many; codes may saturate."""
    top = levels or b.top
    one = top if levels else int(top * b.rng.choice([1, 1, 3.7, 300]))
    out = b.new(Value("", b.values[x].shape, 1 / one, 0, 0, top))
    shift = int(b.rng.integers(8, 33))  # of m: from a row of ties to a maximum that takes all
    b.ops.append(Softmax(x, out, min(2**31 - 1, int(b.rng.integers(1, 4000) * 2.0 ** (shift - 10))), shift))
    return out


def mat_mul(b: Builder, x: str, y: str, *, integers: Integers = False) -> str:
    """The product of two activations, a layer of the plan."""
    first, second = b.values[x], b.values[y]
    lead = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    zero = 0 if integers else b.either()
    out = b.value((*lead, first.shape[-2], second.shape[-1]), zero=zero, integers=integers)
    op = MatMul(b.name(), x, y, out, 0, 0, 1, 0, 0)
    reach = op.bound(b.values).magnitude
    k = b.rows(reach, 1, zero, integers=integers, single=True)
    m, c = int(k["m"][0, 0]), int(k["c"][0, 0])
    op = replace(op, m=m, c=c, shift=k["shift"], **b.clamp(integers))
    b.layers.append(op.counts(b.values))
    b.ops.append(op)
    return out


def embedding(b: Builder, x: str, features: int, *, integers: Integers = False) -> str:
    """Rows of a random table; of one scale, or each of its own."""
    rows = b.values[x].hi + 1 + int(b.rng.integers(3))
    table = b.rng.integers(-128, 128, (rows, features)).astype(np.int8)
    zero = 0 if integers else b.either()
    k = b.rows(128, int(b.rng.choice([1, rows])), zero, integers=integers, single=True)
    out = b.value((*b.values[x].shape, features), zero=zero, integers=integers)
    b.ops.append(Embedding(x, out, table, k["m"][0], k["c"][0], k["shift"], **b.clamp(integers)))
    return out


def random_transformer(seed: int, *, auto: bool = False) -> Program:
    """A program of tokens, a stream of integers and one block of attention; ``auto``: with a controller.

    The number of tokens has a name; one program in four takes up to 90 of them. The controller reads an input of its
    own.
    """
    rng = np.random.default_rng([seed, 5])
    master, widths = random_widths(rng)
    length, features, heads = (int(k) for k in (rng.integers(1, 6), 2 * rng.integers(1, 5), rng.choice([1, 2])))
    b = Builder(seed + 2, (length, features), master=master, widths=widths, varied=True, name="x", dims=("length", ""))
    most = int(rng.integers(6, 12))
    b.dimension("length", 1, 90 if seed % 4 == 3 else most)
    tokens = b.tokens("tokens", (length,), 0, int(rng.choice([300, 40000])) - 1, dims=("length",))
    wide: Integers = (-32767, 32767)
    first = b.linear("v0", features, integers=wide)
    form = Heads(heads, joint=bool(rng.integers(2)), masked=bool(rng.integers(2)))
    if auto:
        b.control(b.input("hint", (7,)), 4 if form.joint else 6, widths)
    stream = b.binary(Add, first, embedding(b, tokens, features, integers=wide), integers=wide)
    stream = b.binary(Add, stream, _attention(b, normalize(b, stream, 1, affine=(1,)), form), integers=wide)
    if rng.integers(3) == 0:  # groups of channels, over all positions
        x = normalize(
            b, b.binary(Add, stream, stream, integers=random_interval(b)), 0, groups=1, affine=(1,), integers=wide
        )
        b.output(softmax(b, x, levels=1000), "words")
    x = normalize(b, stream, 1, groups=int(rng.choice([1, 2])), center=bool(rng.integers(2)), affine=(1,))
    b.output(b.linear(x, 3, integers=True), "out")
    b.output(embedding(b, tokens, 2), "tokens")
    return b.build(choices=widths if auto else ())


@dataclass(frozen=True)
class Heads:
    """How attention is written.

    Attributes:
        count: 1 without their dimension.
        joint: queries, keys and values are one layer, whose parts they are.
        masked: something is added to the scores, the same in every row.
    """

    count: int
    joint: bool
    masked: bool


def _attention(b: Builder, x: str, form: Heads) -> str:
    """Attention of ``x``, ``(length, features)``, with its own positions."""
    features = b.values[x].shape[-1]
    q, k, v = _joint(b, x, form.count) if form.joint else _apart(b, x, form.count)
    scores = mat_mul(b, q, k, integers=bool(b.rng.integers(2)) and (-30000, 30000))
    if form.masked:
        mask = b.constant(b.values[scores].shape[-2:], integers=(-30000, 30000), dims=("length", "length"))
        scores = b.binary(Add, scores, mask, integers=bool(b.rng.integers(2)) and (-30000, 30000))
    y = mat_mul(b, softmax(b, scores), v)
    if form.count > 1:
        y = b.reshape(b.transpose(y, (1, 0, 2)), (0, features))
    return b.linear(y, features, integers=bool(b.rng.integers(2)) and (-32767, 32767))


def _apart(b: Builder, x: str, heads: int) -> list[str]:
    """Queries, keys with their dimensions exchanged, and values, a layer each."""
    features, parts = b.values[x].shape[-1], []
    for k in range(3):
        part = b.linear(x, features)
        if heads > 1:
            part = b.transpose(b.reshape(part, (0, heads, features // heads)), (1, 2, 0) if k == 1 else (1, 0, 2))
        elif k == 1:
            part = b.transpose(part, (1, 0))
        parts.append(part)
    return parts


def _joint(b: Builder, x: str, heads: int) -> list[str]:
    """The same as parts of one layer's result."""
    features, parts = b.values[x].shape[-1], []
    if heads == 1:
        whole = b.linear(x, 3 * features)
        for k in range(3):
            part = b.slice(whole, (0, k * features), (END, (k + 1) * features), (1, 1))
            parts.append(b.transpose(part, (1, 0)) if k == 1 else part)
        return parts
    size = features // heads
    whole = b.transpose(b.reshape(b.linear(x, 3 * features), (0, 3, heads, size)), (1, 2, 0, 3))
    for k in range(3):
        part = b.slice(whole, (k, 0, 0, 0), (k + 1, heads, END, size), (1, 1, 1, 1))
        part = b.reshape(part, (heads, -1, size))
        parts.append(b.transpose(part, (0, 2, 1)) if k == 1 else part)
    return parts
