"""Narrowing by a shift against quantizing again: where the codes are equal, and the errors where they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bench.common import Check
from dqt.arith.nested import code_floor, code_nearest, limits, midpoint, midpoints, narrow_activation, narrow_weight

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.floating[Any]]
Rule = Literal["weights", "activations"]

MASTER, WIDTHS = 8, (7, 6, 5, 4, 3, 2)
SEED, VALUES, CLIP_WIDTH = 0, 1 << 17, 5
STEPS = np.arange(0.2, 2.0, 0.005)
"""Candidates for a free step, in units of the shift's own."""
CLIPS = np.linspace(0.2, 1.0, 81)
"""Candidates for the master's clip, in units of the largest magnitude."""
GRID = 8
"""Real values to a master step, ties and ends of bins among them."""
SETTINGS = {"seed": SEED, "values": VALUES, "master": MASTER, "clip_width": CLIP_WIDTH, "grid": GRID}


def measure() -> dict[str, Any]:
    """The counts of what is exact, and the errors by rule, values and width."""
    found = {"exact": exact(), "errors": [costs(rule, kind) for rule, kind in product(RULES, ("uniform", "gaussian"))]}
    print(found["exact"], flush=True)
    return found


def exact() -> list[dict[str, Any]]:
    """Each fact: how many cases there are for master widths 2 to 8, and in how many it fails."""
    facts: dict[str, Callable[[], Iterator[tuple[int, int]]]] = {
        "weights: T_b(T_k(q)) is T_b(q)": nesting,
        "weights: the shifted code is that of a floor quantizer of the real value": against_floor,
        "activations: the shifted code is that of a nearest quantizer of the real value": against_nearest,
        "activations: T_b(T_k(q)) is not T_b(q) for (2^b - 1) * 2^(n-k-1) codes, no other number": nearest_nesting,
    }
    found = []
    for fact, cases in facts.items():
        counts = list(cases())
        found.append({"fact": fact, "cases": sum(c for c, _ in counts), "mismatches": sum(m for _, m in counts)})
    return found


def pairs(n: int) -> Iterator[tuple[int, int]]:
    """Widths ``(k, b)``, ``2 <= b < k <= n``."""
    return ((k, b) for k in range(2, n + 1) for b in range(2, k))


def nesting() -> Iterator[tuple[int, int]]:
    """Every master code, every pair of widths, every parity of the two midpoints."""
    for n in range(2, MASTER + 1):
        lo, hi = limits(n, signed=True)
        q = np.arange(lo, hi + 1)
        for (k, b), i, j in product(pairs(n), (0, 1), (0, 1)):
            h = midpoint(n, b, j)
            twice = narrow_weight(narrow_weight(q, n, k, midpoint(n, k, i)), n, b, h)
            yield len(q), int((twice != narrow_weight(q, n, b, h)).sum())


def reals(n: int, *, signed: bool) -> tuple[Ints, Ints]:
    """Real values ``u`` in master steps, times ``GRID``, two steps beyond the range, and their master codes."""
    lo, hi = limits(n, signed=signed)
    u = np.arange(GRID * (lo - 2), GRID * (hi + 2) + 1)
    return u, np.rint(u / GRID).astype(np.int64).clip(lo, hi)


def against_floor() -> Iterator[tuple[int, int]]:
    """``code_b(q)`` against the quantizer of docs/numerics.md, fact 1; in integers, ties included."""
    for n in range(2, MASTER + 1):
        lo, hi = limits(n, signed=True)
        u, q = reals(n, signed=True)
        for b in range(2, n):
            s = n - b
            anew = ((u - GRID * lo + GRID // 2) // (GRID << s) + (lo >> s)).clip(lo >> s, hi >> s)
            yield len(u), int((anew != code_floor(q, n, b)).sum())


def against_nearest() -> Iterator[tuple[int, int]]:
    """``code_b(q)`` against ``(u + 1/2) / 2^s`` rounded half up, without the ties of ``u``."""
    for n in range(2, MASTER + 1):
        u, q = reals(n, signed=False)
        apart = u % GRID != GRID // 2
        u, q = u[apart], q[apart]
        for b in range(2, n):
            s = n - b
            anew = ((u + GRID // 2 + (GRID << s >> 1)) // (GRID << s)).clip(0, (1 << b) - 1)
            yield len(u), int((anew != code_nearest(q, n, b)).sum())


def nearest_nesting() -> Iterator[tuple[int, int]]:
    """Pairs of widths whose number of codes that do not compose is not the one of docs/numerics.md, fact 3."""
    for n in range(2, MASTER + 1):
        q = np.arange(1 << n)
        for k, b in pairs(n):
            differ = int((narrow_activation(narrow_activation(q, n, k), n, b) != narrow_activation(q, n, b)).sum())
            yield 1, int(differ != (((1 << b) - 1) << (n - k - 1) if k < n else 0))


def weights_by_shift(x: Reals, step: float, b: int) -> Reals:
    """``x`` as an 8-bit weight of that step, narrowed; index along ``x`` is the input channel."""
    q = np.rint(x / step).clip(*limits(MASTER, signed=True)).astype(np.int64)
    h = np.resize(midpoints(MASTER, b, 2), len(x))
    return narrow_weight(q, MASTER, b, h) * step


def activations_by_shift(x: Reals, step: float, b: int) -> Reals:
    """``x`` as an 8-bit activation of that step and zero point 0, narrowed."""
    q = np.rint(x / step).clip(*limits(MASTER, signed=False)).astype(np.int64)
    return narrow_activation(q, MASTER, b) * step


def weights_anew(x: Reals, step: float, b: int) -> Reals:
    """The b-bit quantizer of the real value: mid-rise levels ``(code + 1/2) * step``."""
    return (np.floor(x / step).clip(*limits(b, signed=True)) + 0.5) * step


def activations_anew(x: Reals, step: float, b: int) -> Reals:
    """The b-bit quantizer of the real value: the nearest of ``code * step``."""
    return np.rint(x / step).clip(*limits(b, signed=False)) * step


Quantizer = Callable[[Reals, float, int], Reals]
RULES: dict[Rule, tuple[Quantizer, Quantizer]] = {
    "weights": (weights_by_shift, weights_anew),
    "activations": (activations_by_shift, activations_anew),
}


def squared(x: Reals, quantized: Reals) -> float:
    """The mean squared error."""
    return float(np.square(quantized - x).mean())


def values(rule: Rule, kind: str) -> Reals:
    """Values of one kind: weights of both signs, activations of one."""
    rng = np.random.default_rng(SEED)
    x = rng.uniform(-1, 1, VALUES) if kind == "uniform" else rng.standard_normal(VALUES)
    return x if rule == "weights" else np.abs(x)


def master_step(rule: Rule, kind: str, x: Reals) -> float:
    """Uniform values: the whole range. Gaussian: the clip of least squared error at 5 bits, as ``calibrate`` does."""
    levels = ((1 << MASTER) - 1) / (2 if rule == "weights" else 1)
    largest = float(np.abs(x).max()) / levels
    if kind == "uniform":
        return 1 / levels
    by_shift = RULES[rule][0]
    return min((float(c) * largest for c in CLIPS), key=lambda step: squared(x, by_shift(x, step, CLIP_WIDTH)))


def costs(rule: Rule, kind: str) -> dict[str, Any]:
    """``|error|`` of three ways to have b bits, all in steps of the shift's b bits."""
    x, (by_shift, anew) = values(rule, kind), RULES[rule]
    step = master_step(rule, kind, x)
    rows = {}
    for b in WIDTHS:
        wide = step * (1 << (MASTER - b))
        free = min((float(f) * wide for f in STEPS), key=lambda own: squared(x, anew(x, own, b)))
        rows[str(b)] = {
            "shift": summary((by_shift(x, step, b) - x) / wide),
            "anew": summary((anew(x, wide, b) - x) / wide),
            "free": summary((anew(x, free, b) - x) / wide) | {"step": round(free / wide, 3)},
        }
    print(rule, kind, {b: {way: row[way]["mean"] for way in row} for b, row in rows.items()}, flush=True)
    return {"rule": rule, "values": kind, "widths": rows}


def summary(error: Reals) -> dict[str, float]:
    """Mean, root mean square and largest ``|error|``."""
    found = {"mean": np.abs(error).mean(), "rms": np.sqrt(np.square(error).mean()), "largest": np.abs(error).max()}
    return {name: round(float(value), 4) for name, value in found.items()}


def checks(found: dict[str, Any]) -> list[Check]:
    """No mismatch anywhere."""
    return [Check(f"mismatches, {fact['fact']}", fact["mismatches"], "<=", 0) for fact in found["exact"]]
