"""Margins for a cascade: the budget holds, the choice is the best, bad data are one clear error."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from dqt.arith.cost import cost
from dqt.arith.plan import PlanError
from dqt.program.cascade import Trials, best_thresholds, calibrate_cascade
from dqt.program.interpret import InputError, execute
from dqt.program.program import Program
from dqt.testing import Builder, inputs, random_program


@cache
def classifier() -> Program:
    b = Builder(10, (2, 6, 6))
    x = b.conv(b.conv("v0", 8), 8)
    return b.build(b.linear(b.flatten(b.conv(x, 2)), 4, integers=True))


def spent(program: Program, widths: tuple[int, ...], passes: Any) -> float:
    share = np.cumsum([cost(program, b).share for b in widths])
    return float(share[np.asarray(passes) - 1].mean())


@pytest.mark.parametrize("widths", [(2, 8), (2, 4, 8), (2, 3, 4, 8)])
def test_the_budget_holds_and_is_used(widths: tuple[int, ...]) -> None:
    program = classifier()
    x = inputs(program, 120)
    first, all_of_them = cost(program, widths[0]).share, sum(cost(program, b).share for b in widths)
    scores = []
    for budget in (first, (first + all_of_them) / 2, all_of_them):
        cascade = calibrate_cascade(program, [x[:50], x[50:]], widths, budget)
        result = execute(program, x, cascade)
        assert spent(program, widths, result.passes) <= budget * (1 + 1e-9)
        scores.append((result.codes.argmax(1) == execute(program, x, 8).codes.argmax(1)).mean())
    assert scores == sorted(scores)
    assert scores[-1] == 1.0


def test_labels_count_right_answers() -> None:
    program = classifier()
    x = inputs(program, 80)
    labels = execute(program, x, 2).codes.argmax(1)  # the low width is always right: going on cannot help
    cascade = calibrate_cascade(program, [(x, labels)], (2, 8), 2.0)
    assert set(execute(program, x, cascade).passes) == {1}


def test_the_search_equals_the_exhaustive_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        margin = rng.integers(0, 12, (2, 40))
        trials = Trials(margin, rng.integers(0, 2, (3, 40)).astype(np.float64), np.array([0.1, 0.3, 1.0]))
        every = product(range(-1, 12), repeat=2)
        scores = [trials.score(t) for t in every]
        best = max(good for good, share in scores if share <= 0.5)
        assert trials.score(best_thresholds(trials, 0.5))[0] == best


@pytest.mark.parametrize(
    ("batches", "options", "error", "message"),
    [
        ([], {}, InputError, "no data"),
        ([np.zeros((0, 2, 6, 6))], {}, InputError, "empty batch"),
        ([(np.zeros((2, 2, 6, 6)),)], {}, InputError, "batch of 1 items"),
        ([(np.zeros((2, 2, 6, 6)), np.zeros(2))], {}, InputError, "dtype float64"),
        ([(np.zeros((2, 2, 6, 6)), np.zeros(3, int))], {}, InputError, r"shape \[3\]: need integers \[2\]"),
        ([(np.zeros((2, 2, 6, 6)), np.full(2, 4))], {}, InputError, "is not a class: need 0 to 3"),
        ([(np.zeros((1, 2, 6, 6)), [1]), np.zeros((1, 2, 6, 6))], {}, InputError, "1 of 2 batches"),
        ([], {"bitops": 0.0}, PlanError, "2 bits alone cost"),
        ([], {"bitops": float("nan")}, PlanError, "budget of nan"),
        ([], {"widths": (8,)}, PlanError, "two or more"),
        ([], {"widths": (8, 2)}, PlanError, "ascend"),
        ([], {"widths": (5, 8)}, PlanError, "width 5"),
    ],
)
def test_bad_arguments(batches: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        calibrate_cascade(classifier(), batches, **{"bitops": 2.0, **options})


def test_wrong_arguments_are_one_clear_error() -> None:
    program = random_program(0)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"widths": 4}, "must be a series of integers"),
        ({"widths": "24"}, "must be a series of integers"),
        ({"bitops": "half"}, "bitops must be a number"),
        ({"bitops": None}, "bitops must be a number"),
    ]
    for options, message in wrong:
        with pytest.raises(PlanError, match=message):
            calibrate_cascade(program, [], **options)
