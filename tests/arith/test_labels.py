"""Labels are taken where they are unambiguous, and refused in words that name the label, the sample and the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dqt.arith.errors import InputError
from dqt.arith.labels import class_labels

Y = np.array([2, 0, 1, 2])


@pytest.mark.parametrize(
    "given",
    [*(Y.astype(kind) for kind in "bBhHiIlL"), Y[:, None], Y.astype(np.int16)[:, None], Y.tolist()],
)
def test_integers_of_any_width_and_a_dimension_of_one_are_taken(given: Any) -> None:
    labels = class_labels(given, (4,), 3)
    assert labels.dtype == np.int64
    assert labels.tolist() == Y.tolist()


def test_positions_may_not_count() -> None:
    assert class_labels([[0, -100], [2, 1]], (2, 2), 3).tolist() == [[0, -100], [2, 1]]
    assert class_labels(np.zeros((2, 1, 4, 4), int), (2, 4, 4), 3).shape == (2, 4, 4)
    assert class_labels([True, False], (2,), 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("given", "classes", "message"),
    [
        ([0, 1, 3, 2], 3, "labels: 3 of sample 2 is not a class: need 0 to 2, of 3 classes"),
        ([0, -1, 1, 2], 3, "-1 of sample 1 is not a class"),
        ([0, -100, 1, 2], 3, "-100 of sample 1"),
        ([0, -1, 1, 2], None, "-1 of sample 1 is not a class: need from 0"),
        (np.array([2**63, 0, 0, 0], np.uint64), 3, "of sample 0"),
        ([1, 2, 3, 1], 3, "3 of sample 2 is not a class.*; the labels begin at 1: subtract 1"),
        (Y[:3], 3, r"labels of dtype int64, shape \[3\]: need integers \[4\], the class of each sample from 0$"),
        (Y.astype(np.float32), 3, r"float32, shape \[4\].*convert them if they are classes; for numbers say task="),
        (np.eye(3)[Y], 3, r"shape \[4, 3\]: need integers \[4\].*argmax\(1\)"),
        (np.eye(3, dtype=int)[Y], 3, r"argmax\(1\)"),
        (np.array(["a", "b", "c", "a"]), 3, "dtype <U1"),
        (np.array(2), 3, r"shape \[\]"),
    ],
)
def test_what_is_no_label_is_named(given: Any, classes: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_labels(given, (4,), classes, error=InputError)


def test_the_message_says_what_and_which_sample_of_the_data_set() -> None:
    with pytest.raises(ValueError, match="targets of split A: 9 of sample 70 is not a class"):
        class_labels([0, 9], (2,), 3, what="targets of split A", samples=[50, 70])
