"""Evaluation: the answers of interpret, and the cost of everything that ran."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dqt.arith.cascade import Cascade
from dqt.arith.cost import chosen_bitops, controller_bitops, cost, full_bitops
from dqt.arith.errors import TaskError
from dqt.arith.plan import Plan, PlanError, PlanLike, uniform
from dqt.program.evaluate import (
    BATCH,
    Comparison,
    Engine,
    as_defined,
    evaluate,
    evaluate_widths,
    interpreter,
    run_batches,
)
from dqt.program.interpret import InputError, Result, execute, interpret
from dqt.program.program import Program
from dqt.testing import Builder, inputs, random_program


@cache
def classifier() -> Program:
    b = Builder(10, (2, 6, 6))
    x = b.conv(b.conv("v0", 8), 8)
    return b.build(b.linear(b.flatten(b.conv(x, 2)), 4, integers=True))


@cache
def routed() -> Program:
    """A program with a controller and a vector as its output."""
    found = (random_program(seed, auto=True) for seed in range(200))
    return next(p for p in found if p.space.choices and execute(p, inputs(p, 1)).codes.ndim == 2)


PLANS: list[PlanLike] = [8, 2, Cascade((2, 4, 8), (50, 5000))]


@pytest.mark.parametrize("plan", PLANS)
def test_answers_and_outputs_are_those_of_interpret(plan: PlanLike) -> None:
    program = classifier()
    x = inputs(program, BATCH + 3)
    done: list[int] = []
    found = evaluate(program, x, plan, advance=done.append)
    expected = interpret(program, x, plan)
    outputs, widths, passes = run_batches(program, x, plan)
    assert np.array_equal(found.predictions, expected.argmax(1))
    assert np.array_equal(outputs, expected)
    assert outputs.dtype == np.float32
    assert np.array_equal(found.widths, widths)
    assert np.array_equal(passes, execute(program, x, plan).passes)
    assert done == [BATCH, 3]
    assert found.accuracy(found.predictions) == 1.0
    assert found.agreement(found.predictions + 1) == 0.0


def changed(program: Program, field: str, where: Callable[[Result], Any]) -> Engine:
    """The interpreter, but for one number of its result."""

    def run(x: npt.NDArray[np.float32], plan: PlanLike) -> Result:
        result = execute(program, x, plan)
        getattr(result, field)[where(result)] += 1
        return result

    return run


@pytest.mark.parametrize("plan", [*PLANS, "auto"])
def test_what_is_served_is_compared_with_the_definition(plan: PlanLike) -> None:
    program = routed() if plan == "auto" else classifier()
    x = inputs(program, BATCH + 3)
    found = evaluate(program, x, plan, engine=interpreter(program))
    done: list[int] = []
    assert as_defined(program, x, plan, found, advance=done.append) == Comparison(64, 64)
    assert done == [16, 16, 16, 16]
    assert as_defined(program, x[:5], plan, evaluate(program, x[:5], plan)) == Comparison(5, 5)
    one = evaluate(program, x, plan, engine=changed(program, "codes", lambda _: (0, 1)))  # sample 0 of both batches
    assert as_defined(program, x, plan, one, count=BATCH + 3) == Comparison(BATCH + 3, BATCH + 1)
    assert as_defined(program, x, plan, one) == Comparison(64, 63)  # the first sample is always among them
    last = evaluate(program, x, plan, engine=changed(program, "codes", lambda r: (len(r.codes) - 1, 0)))
    assert as_defined(program, x, plan, last) == Comparison(64, 63)  # and the last


def test_widths_and_passes_are_compared_too() -> None:
    program, cascade = classifier(), Cascade((2, 4, 8), (50, 5000))
    x = inputs(program, 20)
    once = evaluate(program, x, cascade, engine=changed(program, "passes", lambda r: int(r.passes.argmin())))
    assert as_defined(program, x, cascade, once) == Comparison(20, 19)
    program = routed()
    x = inputs(program, 20)
    wider = evaluate(program, x, "auto", engine=changed(program, "widths", lambda _: (3, 0)))
    assert as_defined(program, x, "auto", wider) == Comparison(20, 19)


def test_widths_dealt_to_samples_are_compared() -> None:
    program = classifier()
    x = inputs(program, 9)
    widths = np.repeat(np.array([2, 4, 8] * 3, np.int8)[:, None], len(program.layers), axis=1)
    right = evaluate_widths(program, x, widths)
    assert as_defined(program, x, widths, right) == Comparison(9, 9)
    wrong = evaluate_widths(program, x, widths, engine=changed(program, "codes", lambda _: (0, 0)))
    assert as_defined(program, x, widths, wrong) == Comparison(9, 6)  # the first sample of each of three widths


def test_a_static_plan_costs_what_cost_says() -> None:
    program = classifier()
    found = evaluate(program, inputs(program, 5), 3)
    assert found.bitops.tolist() == [cost(program, 3).bitops] * 5
    assert found.share == cost(program, 3).share


def test_a_cascade_pays_for_every_pass() -> None:
    program = classifier()
    x = inputs(program, 40)
    cascade = Cascade((2, 4, 8), (50, 5000))
    passes = execute(program, x, cascade).passes
    prices = [cost(program, b).bitops for b in cascade.widths]
    assert evaluate(program, x, cascade).bitops.tolist() == [sum(prices[:k]) for k in passes.tolist()]


def test_auto_pays_for_its_choice_and_its_controller() -> None:
    program = routed()
    found = evaluate(program, inputs(program, 9), "auto")
    assert np.array_equal(found.bitops, chosen_bitops(program.space, found.widths))
    assert (found.bitops > controller_bitops(program.space)).all()
    assert found.share == found.bitops.mean() / full_bitops(program.space)


def test_each_sample_at_its_own_widths() -> None:
    program = routed()
    x = inputs(program, 12)
    auto = evaluate(program, x, "auto")
    given = evaluate_widths(program, x, auto.widths)
    assert np.array_equal(given.predictions, auto.predictions)
    assert np.array_equal(given.bitops, auto.bitops)
    turned = auto.widths[::-1]
    answers = evaluate_widths(program, x, turned).predictions
    for i, row in enumerate(turned.tolist()):
        plan = Plan.of(dict(zip(program.layers, row, strict=True)))
        assert answers[i] == execute(program, x[i : i + 1], plan).codes.argmax()


def test_what_cannot_be_is_refused() -> None:
    program = classifier()
    x = inputs(program, 3)
    with pytest.raises(PlanError, match=r"widths of shape \[3, 1\]"):
        evaluate_widths(program, x, np.full((3, 1), 8, np.int8))
    with pytest.raises(PlanError, match="width 9"):
        evaluate(program, x, 9)
    with pytest.raises(InputError, match="empty batch"):
        evaluate(program, x[:0])
    b = Builder(1, (2, 4, 4))
    picture = b.build(b.conv("v0", 2))
    assert evaluate(picture, inputs(picture, 1)).predictions.shape == (1, 4, 4)  # a class for each position
    b = Builder(1, (2, 4, 4))
    grey = b.build(b.conv("v0", 1))
    with pytest.raises(TaskError, match=r"gives \['N', 1, 4, 4\].*two classes or more"):
        evaluate(grey, inputs(grey, 1))
    with pytest.raises(TaskError, match="task 'segments': known are classification, dense, regression, language"):
        evaluate(program, x, task="segments")
    assert run_batches(picture, inputs(picture, 1), uniform(picture.space, 8))[0].ndim == 4
