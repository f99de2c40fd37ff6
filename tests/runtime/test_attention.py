"""Attention in the engine: every pair of widths, odd sizes, extreme codes, however heads and masks lie."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from dqt.arith.plan import Plan
from dqt.program.interpret import execute
from dqt.program.ops.add import Add
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_sets
from dqt.testing import Builder, extremes, inputs
from dqt.testing.attention import mat_mul, softmax
from dqt.testing.draw import Integers

WIDTHS = tuple(range(2, 9))
WIDE = (-32767, 32767)


@dataclass(frozen=True)
class Form:
    """How attention is written: positions, heads (0: without their dimension) and the size of each.

    Attributes:
        joint: queries, keys and values are parts of one value.
        mask: what is added to the scores, its dimensions; none: nothing.
        scores: of their integers; False: codes.
    """

    positions: int
    heads: int
    size: int
    joint: bool = True
    mask: tuple[int, ...] = ()
    scores: Integers = WIDE


FORMS = (
    Form(1, 1, 1),
    Form(5, 2, 3, joint=False, scores=False),
    Form(17, 3, 8, mask=(1, 17, 17)),
    Form(33, 2, 7, mask=(2, 1, 33), scores=False),
    Form(50, 1, 16, joint=False, mask=(50, 50)),
    Form(20, 0, 6, joint=False, mask=(1, 20)),
    Form(101, 2, 4, scores=(-5, 400)),
    Form(197, 1, 32),
)


def program_of(form: Form, seed: int) -> Program:
    """A program whose layers all lead to one attention."""
    features = max(form.heads, 1) * form.size
    b = Builder(seed, (form.positions, features), widths=WIDTHS, varied=seed % 2 == 1)
    if form.joint:
        x = b.reshape(b.linear("v0", 3 * features), (form.positions, 3, form.heads, form.size))
        x = b.transpose(x, (1, 2, 0, 3))
        shape = (form.heads, form.positions, form.size)
        q, k, v = (
            b.reshape(b.slice(x, (i, 0, 0, 0), (i + 1, *shape), (1, 1, 1, 1)), shape) for i in range(3)
        )  # fmt: skip
    else:
        q, k, v = (b.linear("v0", features) for _ in range(3))
        if form.heads:
            split = (form.positions, form.heads, form.size)
            q, k, v = (b.transpose(b.reshape(part, split), (1, 0, 2)) for part in (q, k, v))
    axes = (0, 2, 1) if form.heads else (1, 0)
    scores = mat_mul(b, q, b.transpose(k, axes), integers=form.scores)
    if form.mask:
        mask = b.constant(form.mask, integers=(-30000, 30000))
        pair = (scores, mask) if seed % 3 else (mask, scores)
        scores = b.binary(Add, *pair, integers=form.scores and WIDE)
    y = mat_mul(b, softmax(b, scores), v, integers=bool(seed % 2) and WIDE)
    if seed % 2:
        return b.build(y)
    if form.heads:
        y = b.reshape(b.transpose(y, (1, 0, 2)), (form.positions, features))
    return b.build(b.linear(y, 5, integers=True))


def pairs(program: Program, first: int, second: int) -> Plan:
    """These widths for every other layer, exchanged for those between."""
    turns = itertools.cycle(((first, second), (second, first)))
    return Plan.of({name: next(turns) for name in program.layers})


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("seed", range(2))
def test_every_pair_of_widths_is_what_the_interpreter_says(form: Form, seed: int) -> None:
    program = program_of(form, seed)
    x = np.concatenate([inputs(program, 1, seed), extremes(program, 2, seed)])
    engines = [Runtime(program, isa=isa, threads=1 + seed) for isa in kernel_sets()]
    for first, second in itertools.product(WIDTHS, WIDTHS):
        plan = pairs(program, first, second)
        expected = execute(program, x, plan).codes
        for engine in engines:
            np.testing.assert_array_equal(engine.codes(x, plan), expected, f"{engine.isa}, {first} by {second}")
