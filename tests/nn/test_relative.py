"""Shapes and cuts that are told from their sizes at a few places."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dqt.nn.relative import END, Group, Shape, cut, grouped, names_of, resolved
from dqt.nn.sized import reshaping
from dqt.program.ops.reshape import Reshape, reshaped

SIZES = [(8, 10), (9, 12), (11, 15), (10, 11)]
Make = Callable[[int, int], Shape]


def at(make: Make) -> list[Shape]:
    return [make(*sizes) for sizes in SIZES]


WAYS: dict[str, tuple[Make, Make]] = {
    "flattened": (lambda h, w: (4, h, w), lambda h, w: (4, h * w)),
    "all in one": (lambda h, w: (4, h, w), lambda h, w: (4 * h * w,)),
    "channels divided": (lambda h, w: (8, h, w), lambda h, w: (2, 4, h, w)),
    "channels divided in three": (lambda h, w: (16, h, w), lambda h, w: (4, 2, 2, h, w)),
    "ones between": (lambda h, w: (4, h, w), lambda h, w: (4, h, 1, w, 1)),
    "pairs joined": (lambda h, w: (4, h, 2, w, 2), lambda h, w: (4, 2 * h, 2 * w)),
    "pairs divided": (lambda h, w: (4, 2 * h, 2 * w), lambda h, w: (4, h, 2, w, 2)),
    "ones at the ends": (lambda h, w: (1, h, w, 1), lambda h, w: (h, w)),
    "ones alone": (lambda *_: (1,), lambda *_: (1, 1)),
    "a number": (lambda *_: (1,), lambda *_: ()),
    "the other order": (lambda h, w: (h, w), lambda h, w: (h * w // w, w)),
    "of equal sizes at first": (lambda h, _: (h, 8), lambda h, _: (8 * h,)),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_shapes_that_follow(name: str) -> None:
    before, after = map(at, WAYS[name])
    groups = grouped(before, after)
    assert groups is not None
    assert all(resolved(groups, x) == y for x, y in zip(before, after, strict=True))
    steps = reshaping(before, after)
    assert steps is not None
    for x, y in zip(before, after, strict=True):  # the elements lie where a plain reshape puts them
        array = np.arange(np.prod(x, dtype=int)).reshape(x)
        for step in steps:
            moved = reshaped(array.shape, step.field) if step.move is Reshape else None
            array = array.transpose(step.field) if moved is None else array.reshape(moved)
        np.testing.assert_array_equal(array, np.arange(array.size).reshape(y))
    assert steps[-1].shape == after[0]


def test_one_instruction_where_one_will_do() -> None:
    steps = reshaping(at(lambda h, w: (4, h, w)), at(lambda h, w: (4, h * w)))
    assert steps is not None
    assert [(step.move, step.field) for step in steps] == [(Reshape, (4, -1))]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda h, w: (4, h * w), lambda h, w: (4, h, w)),  # which of the two is what
        (lambda h, w: (h, w), lambda h, w: (w, h)),
    ],
)
def test_shapes_that_do_not(before: Make, after: Make) -> None:
    assert grouped(at(before), at(after)) is None
    assert reshaping(at(before), at(after)) is None


def test_groups() -> None:
    groups = grouped(at(lambda h, w: (4, h, w)), at(lambda h, w: (2, 2, h * w)))
    assert groups == (Group(1, (2, 2)), Group(2, (-1,)))


@pytest.mark.parametrize(
    ("lengths", "starts", "stops", "expected"),
    [
        ([8, 9], [0, 0], [8, 9], (0, END)),
        ([8, 8], [0, 0], [8, 8], (0, 8)),
        ([8, 9], [0, 0], [7, 8], (0, -1)),
        ([8, 9], [5, 6], [8, 9], (-3, END)),
        ([8, 9], [2, 2], [4, 4], (2, 4)),
        ([8, 10], [0, 0], [4, 5], None),  # a half
        ([8, 9], [0, 1], [8, 9], (-8, END)),
    ],
)
def test_cuts(lengths: list[int], starts: list[int], stops: list[int], expected: tuple[int, int] | None) -> None:
    assert cut(lengths, starts, stops) == expected


def test_names() -> None:
    sizes = [{"h": 8, "w": 10}, {"h": 9, "w": 12}]
    assert names_of([(3, 8), (3, 9)], sizes) == ("", "h")
    assert names_of([(3, 10, 8), (3, 12, 9)], sizes) == ("", "w", "h")
    assert names_of([(16,), (18,)], sizes) is None
