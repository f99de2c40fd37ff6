"""Errors of integer (+), (x) and requantization against real arithmetic, beside the bounds of docs/numerics.md.

The integer functions are those of ``dqt.arith``, and codes are 8-bit masters narrowed to the width. The real results
are computed in float64, whose error is thousands of times smaller than what the bounds allow above 1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.common import Check
from dqt.arith.affine import add, add_constants, multiply, multiply_constants
from dqt.arith.fixed import choose_shift, multiplier, offset, requantize
from dqt.arith.nested import midpoints, narrow_activation, narrow_weight

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.floating[Any]]

MASTER, WIDTHS = 8, (8, 7, 6, 5, 4, 3, 2)
SEED, DRAWS, CODES, DOTS = 0, 1000, 1000, 250
TAPS = (9, 4608)
PERCENTILES = (50, 95, 99, 100)
ANY = 1 << 62
"""Clamp limits that nothing reaches: the bounds are those of the value before the clamp."""
SETTINGS = {"seed": SEED, "draws": DRAWS, "codes": CODES, "dots": DOTS, "taps": TAPS, "master": MASTER}


@dataclass(frozen=True, eq=False)
class Drawn:
    """Results of one operator with one set of constants: integers, the reals they stand for, the bound of each."""

    integer: Ints
    real: Reals
    bound: Reals


def ratio(rng: np.random.Generator, low: float, high: float) -> float:
    """A scale, uniform in its logarithm."""
    return float(2 ** rng.uniform(low, high))


def codes(rng: np.random.Generator, b: int, *shape: int) -> Ints:
    """Activations at width ``b``, in master units."""
    return narrow_activation(rng.integers(0, 1 << MASTER, shape), MASTER, b)


def slack(shift: int) -> float:
    """``epsilon`` of fact 7."""
    return (0.5 + 2.0**-20) * 2.0**-shift


def added(rng: np.random.Generator, b: int) -> Drawn:
    """(+) with steps from 2^-10 to 8 output steps; zero points anywhere in the codes."""
    r1, r2, step = ratio(rng, -10, 3), ratio(rng, -10, 3), ratio(rng, -8, 8)
    z1, z2, z = (int(v) for v in rng.integers(0, 1 << MASTER, 3))
    q1, q2 = codes(rng, b, CODES), codes(rng, b, CODES)
    k = add_constants(r1 * step, z1, r2 * step, z2, step, z)
    real = r1 * (q1 - z1) + r2 * (q2 - z2) + z
    return Drawn(add(q1, q2, k, -ANY, ANY), real, 0.5 + (abs(q1 - z1) + abs(q2 - z2)) * slack(k.shift))


def multiplied(rng: np.random.Generator, b: int) -> Drawn:
    """(x) with a product of steps from 2^-16 to 2 output steps."""
    r, step1, step = ratio(rng, -16, 1), ratio(rng, -8, 8), ratio(rng, -8, 8)
    z1, z2, z = (int(v) for v in rng.integers(0, 1 << MASTER, 3))
    q1, q2 = codes(rng, b, CODES), codes(rng, b, CODES)
    k = multiply_constants(step1, z1, r * step / step1, z2, step, z)
    real = r * (q1 - z1) * (q2 - z2) + z
    return Drawn(multiply(q1, q2, k, -ANY, ANY), real, 0.5 + abs(q1 - z1) * abs(q2 - z2) * slack(k.shift))


def requantized(rng: np.random.Generator, b: int) -> Drawn:
    """Dot products of weights and activations at width ``b``, scaled to some hundreds of output steps, with a bias."""
    taps = round(2 ** rng.uniform(*np.log2(TAPS)))
    z, out = (int(v) for v in rng.integers(0, 1 << MASTER, 2))
    weight = narrow_weight(rng.integers(-128, 128, (DOTS, taps)), MASTER, b, midpoints(MASTER, b, taps))
    x = codes(rng, b, taps) - z
    acc = (weight.astype(np.float64) @ x).astype(np.int64)  # exact: far below 2^53
    scale, bias = ratio(rng, 4, 9) / float(np.abs(acc).max()), float(rng.normal(0, 50))
    shift = choose_shift(scale)
    m, c = multiplier(scale, shift).astype(np.int64), offset(bias, out, shift)
    bound = 0.5 + (np.abs(acc) + 1) * 2.0 ** -(shift + 1)
    return Drawn(requantize(acc, m, c, shift, -ANY, ANY), scale * acc + bias + out, bound)


OPERATORS: dict[str, Callable[[np.random.Generator, int], Drawn]] = {
    "add": added,
    "multiply": multiplied,
    "requantize": requantized,
}


def measure() -> dict[str, Any]:
    """Every operator at every width."""
    return {name: {str(b): distribution(name, b) for b in WIDTHS} for name in OPERATORS}


def distribution(name: str, b: int) -> dict[str, Any]:
    """``|integer - real|`` in output steps over ``DRAWS`` sets of constants, each seeded by operator and width."""
    rng = np.random.default_rng([SEED, list(OPERATORS).index(name), b])
    drawn = [OPERATORS[name](rng, b) for _ in range(DRAWS)]
    integer, real, bound = (np.concatenate(part) for part in zip(*(vars(d).values() for d in drawn), strict=True))
    error = np.abs(integer - real)
    found = {
        "results": len(error),
        "mean": round(float(error.mean()), 6),
        "percentiles": {str(p): round(float(np.percentile(error, p)), 9) for p in PERCENTILES},
        "largest_bound": round(float(bound.max()), 9),
        "largest_share_of_bound": float((error / bound).max()),
        "not_the_rounded_real": int((integer != np.floor(real + 0.5)).sum()),
    }
    print(name, b, found, flush=True)
    return found


def checks(found: dict[str, Any]) -> list[Check]:
    """The bound holds for every result."""
    largest = {name: max(row["largest_share_of_bound"] for row in rows.values()) for name, rows in found.items()}
    return [Check(f"largest |error| over its bound, {name}", share, "<=", 1) for name, share in largest.items()]
