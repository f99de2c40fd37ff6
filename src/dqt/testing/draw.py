"""What a program that is written by hand may hold, and what is drawn at random for it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Shape: TypeAlias = tuple[int, ...]
Integers: TypeAlias = bool | tuple[int, int]
"""What a result holds: codes (``False``), integers within 24 bits (``True``), or integers in an interval."""
WIDE = 2**23 - 1


def interval(integers: Integers, top: int) -> tuple[int, int]:
    """The smallest and the largest integer of a result; ``top``: the largest code."""
    if isinstance(integers, tuple):
        return integers
    return (-WIDE, WIDE) if integers else (0, top)


def narrowing(rng: np.random.Generator, master: int, widths: Shape) -> dict[str, Any]:
    """How a layer reads narrower widths: a rule for its weights, and exponents by width, now and then."""
    exponents = [
        tuple(int(rng.integers(min(2, master - b) + 1)) for b in widths) if rng.integers(3) == 0 else ()
        for _ in range(2)
    ]
    nearest = bool(rng.integers(3) == 0)
    return {"nearest": nearest, "weight_exponents": exponents[0], "input_exponents": exponents[1]}


def with_unlike_rows(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``[widths, O]`` and further rows for unlike pairs of widths: of other widths, and of other channels."""
    return np.concatenate([rows, rows[1:], np.roll(rows[:-1], 1, axis=1)])
