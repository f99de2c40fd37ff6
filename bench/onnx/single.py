"""Whether float32 could requantize a layer exactly: for each channel, numbers that round every sum alike.

``float32(acc) * m + c`` never falls as ``acc`` grows if ``m > 0``, so it is enough to look at the sums where an output
begins and at those one below.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.program.layered import Layered
from dqt.program.program import Program

Ints = npt.NDArray[np.int64]
STEPS = 17
"""Offsets that are tried, through the mean room between two outputs; each with three neighbouring multipliers."""


def layers(program: Program) -> dict[str, int]:
    """Layers of codes at the master width and their channels; channels with such numbers, and layers of these alone."""
    found = {"layers": 0, "exact_layers": 0, "channels": 0, "exact_channels": 0}
    for op in program.ops:
        if isinstance(op, Layered) and op.hi - op.lo < 256:
            exact = channels(op, program)
            found["layers"] += 1
            found["exact_layers"] += bool(exact.all())
            found["channels"] += len(exact)
            found["exact_channels"] += int(exact.sum())
    return found


def channels(op: Layered, program: Program) -> npt.NDArray[np.bool_]:
    """Of each output channel, whether some pair of float32 numbers is exact."""
    zero = next(value.zero for value in program.values if value.name == op.x)
    bound = op.bound_at(program.space, program.space.master, zero)
    m, c = op.m[-1].astype(np.int64), op.c[-1]  # where m is negative, the same function of -acc rises
    low, high = np.where(m < 0, -bound.hi, bound.lo), np.where(m < 0, -bound.lo, bound.hi)
    rise = np.maximum(np.abs(m), 1)[:, None]
    levels = np.arange(op.lo + 1, op.hi + 1)
    begins = np.clip(-((c[:, None] - (levels << op.shift)) // rise), low[:, None], high[:, None] + 1)
    unit, exact = 2.0**-op.shift, np.zeros(len(m), bool)
    factor = (rise[:, 0] * unit).astype(np.float32)
    for ulps, step in product((0, -1, 1), np.linspace(-0.5, 0.5, STEPS)):
        gain = factor + np.float32(ulps) * np.spacing(factor)
        offset = (c * unit + step * rise[:, 0] * unit / len(levels)).astype(np.float32)
        exact |= _holds(begins, gain, offset, levels, (low, high))
    return exact


def _holds(begins: Ints, gain: Any, offset: Any, levels: Ints, ends: tuple[Ints, Ints]) -> npt.NDArray[np.bool_]:
    """Whether every output begins where it should; outside of the sums that occur nothing is asked."""
    low, high = (end[:, None] for end in ends)

    def rounded(acc: Ints) -> Any:
        return acc.astype(np.float32) * gain[:, None] + offset[:, None]

    first = (rounded(begins) >= levels) | (begins > high)
    before = (rounded(begins - 1) < levels) | (begins <= low)
    return np.asarray((first & before).all(axis=1))
