"""Packed programs: the same integers at the widths that they hold, and an error at the others."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dqt
from dqt.arith.errors import PlanError
from dqt.arith.plan import Plan, PlanLike
from dqt.program.file import dumps
from dqt.program.interpret import execute
from dqt.program.layered import Layered
from dqt.program.operator import Scope
from dqt.program.program import Program, loads
from dqt.testing import Builder, inputs, random_model, random_program

WIDTHS = (2, 3, 4, 6, 8)


@cache
def sample(seed: int = 3) -> Program:
    """A stem and a head that stay at 6 bits, layers of both rules and with exponents, and a controller."""
    b = Builder(seed, (3, 6, 6), widths=WIDTHS)
    x = b.conv("v0", 24)
    b.control(x, 2, (2, 4))
    x = b.conv(x, 40, groups=2)
    x = b.conv(x, 40, (1, 1), padding=(0, 0, 0, 0))
    x = b.linear(b.flatten(b.avg_pool(x)), 7, integers=True)
    program = b.build(x, choices=(2, 4))
    first, *_, last = program.space.layers
    layers = tuple(replace(layer, edge=layer in (first, last)) for layer in program.space.layers)
    space = replace(program.space, layers=layers, edge_width=6)
    rules: dict[str, dict[str, Any]] = {
        layers[1].name: {"nearest": True}, layers[2].name: {"weight_exponents": (2, 1, 1, 1, 0)},
    }  # fmt: skip
    ops = tuple(replace(op, **rules.get(op.layer, {})) if isinstance(op, Layered) else op for op in program.ops)
    return replace(program, space=space, ops=ops)


def plans(program: Program, width: int) -> list[PlanLike]:
    """Uniform plans, one of pairs whose activations are wider, a cascade, and what samples choose."""
    space, rng = program.space, np.random.default_rng(width)
    held = [b for b in space.widths if b <= width]
    pairs = {
        layer.name: (int(rng.choice([b for b in space.widths if b <= max(width, layer.edge * space.edge_width)])), 8)
        for layer in space.layers
    }
    uniform: list[PlanLike] = [*held, Plan.of(pairs), dqt.Cascade(tuple(held), (9,) * (len(held) - 1))]
    automatic: list[PlanLike] = ["auto"] if width >= 4 else []
    return [*uniform, *automatic]


def kept(program: Program) -> dict[str, int]:
    return {op.layer: op.kept(Scope.of(program)) for op in program.ops if isinstance(op, Layered)}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_integers_are_those_of_the_whole_program(width: int) -> None:
    program, x = sample(), inputs(sample(), 9)
    packed = loads(dumps(program.pack(width)))
    for plan in plans(program, width):
        ours, theirs = execute(packed, x, plan), execute(program, x, plan)
        assert_array_equal(ours.codes, theirs.codes)
        assert_array_equal(ours.widths, theirs.widths)


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_at_every_width(seed: int) -> None:
    program = random_program(seed, auto=seed % 2 == 1)
    x = inputs(program, 3)
    for width in program.space.widths:
        packed = loads(dumps(program.pack(width)))
        for b in packed.space.held:
            assert_array_equal(execute(packed, x, b).codes, execute(program, x, b).codes)
        assert packed.space.held == tuple(b for b in program.space.widths if b <= width)


@pytest.mark.parametrize("seed", range(4))
def test_states_and_named_dimensions(seed: int) -> None:
    program = random_model(seed)
    packed = loads(dumps(program.pack(program.space.widths[0])))
    (height,) = program.dims
    x = inputs(program, 3, seed, {height.name: height.most})
    ours, theirs = (execute(each, x, packed.space.widest) for each in (packed, program))
    for name, codes in theirs.codes.items():
        assert_array_equal(ours.codes[name], codes)
    for name, state in theirs.state.items():
        assert_array_equal(ours.state[name], state)


def test_layers_keep_the_bits_that_their_widths_read() -> None:
    program = sample()
    names = [op.layer for op in program.ops if isinstance(op, Layered)]
    controller = [layer.name for layer in program.space.controller]
    found = {width: kept(program.pack(width)) for width in WIDTHS}
    first, inner = names[0], [name for name in names[1:-1] if name not in controller]
    assert [found[width][first] for width in WIDTHS] == [6, 6, 6, 6, 8]  # an edge layer reads 6 bits in any case
    assert {found[2][name] for name in controller} == {8}
    rules = {op.layer: (op.nearest, op.weight_exponents) for op in program.ops if isinstance(op, Layered)}
    for name in inner:
        nearest, exponents = rules[name]
        extra = {b: (exponents[WIDTHS.index(b)] if exponents else 0) + nearest for b in WIDTHS}
        assert [found[w][name] for w in WIDTHS] == [
            8 if w == 8 else max(b + extra[b] for b in WIDTHS if b <= w) for w in WIDTHS
        ]
    assert {rules[name] for name in inner} >= {(True, ()), (False, (2, 1, 1, 1, 0))}


def test_a_packed_program_says_what_it_holds() -> None:
    packed = sample().pack(3)
    assert (packed.space.held, packed.space.widest, packed.space.widths) == ((2, 3), 3, WIDTHS)
    assert "packed to 3 bits" in str(packed)
    assert not packed.space.automatic
    assert sample().pack(8) is sample()
    assert packed.pack(3) is packed
    assert dumps(packed.pack(2)) == dumps(sample().pack(2))
    assert execute(packed, inputs(packed, 1)).widths.max() == 6  # without a plan: 3 bits, and the edges' 6


REFUSED: dict[str, tuple[Any, str]] = {
    "a width": (4, "width 4 of the plan: this program is packed to 3 bits.*upgrade"),
    "the master": (8, "width 8 of the plan: this program is packed to 3 bits.*upgrade"),
    "none of the widths": (5, "width 5 of the plan is not one of the network's widths"),
    "a cascade": (dqt.Cascade((2, 4), (5,)), "width 4 of the cascade: this program is packed"),
    "auto": ("auto", "width 4 of the controller's choices: this program is packed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_does_not_hold_is_refused(name: str) -> None:
    plan, message = REFUSED[name]
    packed = sample().pack(3)
    with pytest.raises(PlanError, match=message):
        execute(packed, inputs(packed, 1), plan)


def test_a_plan_is_refused_by_layer() -> None:
    packed = sample().pack(3)
    wide = {layer.name: (6, 8) if layer.edge else (3, 8) for layer in packed.space.layers}
    execute(packed, inputs(packed, 1), wide)
    name = packed.layers[1]
    with pytest.raises(PlanError, match=f"width 4 of layer {name}: this program is packed to 3 bits and holds 3"):
        execute(packed, inputs(packed, 1), {**wide, name: (4, 2)})


@pytest.mark.parametrize(
    ("width", "message"), [(5, "not one of"), (4, "packed to 3 bits"), ("4", "must be an integer")]
)
def test_widths_that_nothing_is_packed_to(width: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        sample().pack(3).pack(width)
