"""Numbers as callers pass them: Python's, NumPy's and torch's alike."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from dqt.arith.errors import PlanError


def index(value: Any) -> int | None:
    """``value`` as an int if it is a whole number and not a truth value: int, NumPy or torch scalar."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def whole(value: Any, what: str) -> int:
    """``value`` as an int.

    Raises:
        PlanError: it is none; the message calls it ``what``.
    """
    number = index(value)
    if number is None:
        raise PlanError(f"{what} must be an integer, not {value!r}")
    return number


def wholes(values: Any, what: str) -> tuple[int, ...]:
    """Each of ``values`` as an int.

    Raises:
        PlanError: they are no series, or one of them is no integer; the message calls it ``what``.
    """
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise PlanError(f"{what}s must be a series of integers, such as (2, 4, 8), not {values!r}")
    return tuple(whole(value, what) for value in values)


def real(value: Any, what: str) -> float:
    """``value`` as a float.

    Raises:
        PlanError: it is no number; the message calls it ``what``.
    """
    try:
        number = None if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise PlanError(f"{what} must be a number, not {value!r}")
    return number
