"""Controllers that decide late: what runs at which width, what runs again, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dqt.arith.cost import controller_bitops, cost
from dqt.program.evaluate import evaluate
from dqt.program.file import dumps
from dqt.program.interpret import execute
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.top_k import TopK
from dqt.program.program import Program, ProgramError, loads
from dqt.testing import Builder, inputs, random_late
from tests.program.networks import divided
from tests.program.test_interpret import check

SEEDS = range(24)


def mixed(seed: int, again: bool) -> Program:
    """A random program whose controller is of several minds about random samples."""
    program = random_late(seed, again=again)
    return divided(program, inputs(program, 12, seed))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs_equal_python_integers(seed: int, *, again: bool) -> None:
    program = mixed(seed, again)
    check(program, "auto")
    check(program, program.space.widths[0])


def of_three_minds(again: bool) -> tuple[Program, Any]:
    """A program whose samples choose three widths or more, and samples."""
    for seed in range(60):
        program = mixed(seed, again)
        x = inputs(program, 12, seed)
        if len(np.unique(execute(program, x, "auto").widths, axis=0)) > 2:
            return program, x
    raise AssertionError("no program divides its samples")


def test_samples_run_again_at_what_they_chose() -> None:
    program, x = of_three_minds(again=True)
    result = execute(program, x, "auto", keep=True)
    column = program.layers.index(program.space.chosen[0])
    chosen = result.widths[:, column]
    for b in program.space.choices:
        mine = np.flatnonzero(chosen == b)
        if len(mine):
            alone = execute(program, x[mine], b, keep=True)
            assert_array_equal(result.codes[mine], alone.codes)
            assert_array_equal(result.widths[mine], alone.widths)
            for name, values in alone.values.items():
                assert_array_equal(result.values[name][mine], values)
    assert_array_equal(result.passes, 1 + (chosen != program.first))


def test_both_runs_are_paid() -> None:
    program, x = of_three_minds(again=True)
    found = evaluate(program, x, "auto")
    column = program.layers.index(program.space.chosen[0])
    first = cost(program, program.first).bitops
    for b, paid in zip(found.widths[:, column], found.bitops, strict=True):
        runs = first + (cost(program, int(b)).bitops if b != program.first else 0)
        assert paid == runs + controller_bitops(program.space)


def test_what_runs_before_a_decision_runs_at_the_first_width() -> None:
    program, x = of_three_minds(again=False)
    choice = program.choose
    assert isinstance(choice, ChooseLate)
    result = execute(program, x, "auto")
    governed = [program.layers.index(name) for name in choice.layers]
    before = [program.layers.index(name) for name in program.space.chosen if name not in choice.layers]
    assert before
    assert (result.widths[:, before] == choice.first).all()
    assert len(np.unique(result.widths[:, governed])) > 1
    assert (result.passes == 1).all()


@pytest.mark.parametrize("again", [False, True])
def test_a_file_holds_it(again: bool) -> None:
    program, x = of_three_minds(again=again)
    read = loads(dumps(program))
    assert_array_equal(execute(read, x, "auto").codes, execute(program, x, "auto").codes)
    assert (read.first, read.again) == (program.first, again)


def test_top_k_of_rows_with_ties() -> None:
    b = Builder(0, (2, 5))
    program = b.build(b.top_k("v0", 3))
    # ties at the largest, and at the last place that counts
    x = np.array([[[1, 3, 3, 2, 2], [-1, -1, -1, -1, -1]]], dtype=np.float32)
    codes = execute(program, x, keep=True).values["v0"].astype(np.int64)
    assert_array_equal(execute(program, x).codes, np.sort(codes)[..., ::-1][..., :3])


Change = Callable[[Program], Mapping[str, Any]]


def with_op(kind: type[Any], **fields: Any) -> Change:
    def change(program: Program) -> Mapping[str, Any]:
        return {"ops": tuple(replace(op, **fields) if isinstance(op, kind) else op for op in program.ops)}

    return change


def moved(to: int) -> Change:
    """The choice at another place."""

    def change(program: Program) -> Mapping[str, Any]:
        rest = [op for op in program.ops if not isinstance(op, ChooseLate)]
        choice = next(op for op in program.ops if isinstance(op, ChooseLate))
        return {"ops": (*rest[:to], choice, *rest[to:])}

    return change


def sample(again: bool) -> Program:
    b = Builder(20, (2, 6, 6), widths=(2, 4, 8))
    x = b.conv(b.conv("v0", 4), 4)
    if not again:
        b.control_late(b.flatten(x), 1, (2, 4), 2, again=False)
    y = b.linear(b.flatten(b.conv(x, 4)), 3, integers=True)
    if again:
        b.control_late(b.rescale(b.top_k(y, 2)), 2, (2, 4), 2, again=True)
    return b.build(y, choices=(2, 4))


DEFECTS: dict[str, tuple[bool, Change, str]] = {
    "count": (True, with_op(TopK, count=0), "count 0, need 1 to 3"),
    "count beyond": (True, with_op(TopK, count=4), "count 4, need 1 to 3"),
    "top k shape": (True, with_op(TopK, count=1), "its output has shape"),
    "no layers": (False, with_op(ChooseLate, layers=()), "not some of the space's"),
    "an edge": (False, with_op(ChooseLate, layers=("block.0",)), "not some of the space's"),
    "order": (True, with_op(ChooseLate, layers=("block.2", "block.1")), "not some of the space's"),
    "twice": (True, with_op(ChooseLate, layers=("block.1", "block.1")), "not some of the space's"),
    "widths": (True, with_op(ChooseLate, widths=(2, 8)), r"widths \(2, 8\), but the space's choices are \(2, 4\)"),
    "codes": (True, with_op(ChooseLate, x="v0"), "reads the codes v0: it takes integers"),
    "first": (False, with_op(ChooseLate, first=8), r"first 8, need one of its widths \(2, 4\)"),
    "not the least": (True, with_op(ChooseLate, first=4), "first 4, need 2, the least of its widths"),
    "some again": (True, with_op(ChooseLate, layers=("block.1",)), "need all layers that carry a chosen width"),
    "again inside": (False, with_op(ChooseLate, again=True), "need all layers that carry a chosen width"),
    "not again": (True, with_op(ChooseLate, again=False), "comes before the Choose that sets its width"),
    "too late": (False, lambda p: moved(len(p.ops) - 1)(p), "comes before the Choose that sets its width"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_named(defect: str) -> None:
    again, change, message = DEFECTS[defect]
    program = sample(again)
    with pytest.raises(ProgramError, match=message):
        replace(program, **change(program))


def test_a_program_with_states_has_no_second_run() -> None:
    b = Builder(3, (2, 6, 6), widths=(2, 8))
    x = b.conv(b.conv("v0", 4), 4)
    past = b.state("past", b.values[x].shape)
    b.store(b.rescale(x, like=past), "past")
    y = b.linear(b.flatten(x), 3, integers=True)
    b.control_late(b.rescale(y), 1, (2, 8), 2, again=True)
    with pytest.raises(ProgramError, match="has states, which every run changes"):
        b.build(y, choices=(2, 8))
