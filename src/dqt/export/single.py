"""Additions of two codes in float32: there are so few pairs that all of them are tried before the model is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.program.ops.add import Add
from dqt.program.values import Value

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
NEAR = 2.0**-10
"""Sums that are this near to where an output begins may be rounded wrong in float32; they are tried first."""
ULPS = (0, -1, 1, -2, 2)
"""What is added to a number, in units of its last place."""
OFFSETS = np.arange(-32, 33) * 2.0**-18
"""What is added to the offset, in steps of the output."""


@dataclass(frozen=True)
class Single:
    """``round((k * a + c + b) / scale)``, half to even, of float32 numbers, is the integer sum."""

    k: np.float32
    c: np.float32
    scale: np.float32

    def of(self, a: Floats, b: Floats, c: Any = None) -> tuple[Any, Any]:
        """The sum in the order of the model's nodes, divided and times the reciprocal. ``c``: others instead."""
        total = (a * self.k + (self.c if c is None else c)) + b
        return np.rint(total / self.scale), np.rint(total * (np.float32(1) / self.scale))


def single(op: Add, a: Value, b: Value) -> Single | None:
    """Numbers with which every pair of codes of two values gives the integer that ``op`` gives, if any do."""
    if op.k2 <= 0:
        return None
    x, y = np.meshgrid(np.arange(a.lo, a.hi + 1), np.arange(b.lo, b.hi + 1), indexing="ij")
    v = op.k1 * x + op.k2 * y + op.k3
    wanted, part = (v >> op.shift).clip(op.lo, op.hi), (v & ((1 << op.shift) - 1)) * 2.0**-op.shift
    near = (part < NEAR) | (part > 1 - NEAR)
    xs, ys = x.astype(np.float32), y.astype(np.float32)
    for numbers in _candidates(op, xs[near], ys[near], wanted[near]):
        if _right(op, numbers.of(xs, ys), wanted).all():
            return numbers
    return None


def _right(op: Add, given: tuple[Any, Any], wanted: Ints) -> Any:
    first, second = (each.clip(op.lo, op.hi) == wanted for each in given)
    return first & second


def _candidates(op: Add, a: Floats, b: Floats, wanted: Ints) -> Iterator[Single]:
    """Numbers that are right for some pairs."""
    k, scale = np.float32(op.k1 / op.k2), np.float32((1 << op.shift) / op.k2)
    c = ((op.k3 * 2.0**-op.shift - 0.5 + OFFSETS) * ((1 << op.shift) / op.k2)).astype(np.float32)
    for first, second in product(ULPS, ULPS):
        numbers = Single(k + first * np.spacing(k), c[0], scale + second * np.spacing(scale))
        right = _right(op, numbers.of(a, b, c[:, None]), wanted).all(axis=1)
        yield from (Single(numbers.k, each, numbers.scale) for each in c[right])
