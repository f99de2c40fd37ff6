"""Whole numbers as callers pass them: Python, NumPy and torch integers alike."""

from __future__ import annotations

import operator
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
