"""Golden vectors: small inputs and the exact integers that every implementation of the arithmetic must give.

``python tests/golden/make.py`` writes them anew, beside this file. Each file is a list of cases: a function of
dqt.arith, its equation in docs/numerics.md, plain JSON inputs, and the expected integers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dqt.arith.affine import (
    AddConstants,
    MultiplyConstants,
    add,
    add_constants,
    dot_from_codes,
    multiply,
    multiply_constants,
)
from dqt.arith.bounds import activation_product_bound, dot_bound, general_bits
from dqt.arith.fixed import area_multiplier, choose_shift, multiplier, offset, requantize
from dqt.arith.nested import code_floor, code_nearest, midpoints, narrow_activation, narrow_weight
from dqt.arith.powers import exponents, power_table, powers, probabilities, row_factor
from dqt.arith.ratio import code_constants
from dqt.arith.resize import between, neighbours, resized
from dqt.arith.roots import added_energy, energy, inverse_root, normalize, root_table, row_shift, shifted

HERE = Path(__file__).parent
Inputs = dict[str, Any]


def ints(values: list[int]) -> Any:
    return np.array(values, dtype=np.int64)


def run_scale(scales: list[float], bias: list[float], zero: int) -> Inputs:
    shift = choose_shift(scales)
    return {
        "shift": shift,
        "m": multiplier(scales, shift).tolist(),
        "c": offset(bias, zero, shift).tolist(),
    }


def run_codes(scales: list[float], bias: list[float], zero: int, lo: int, hi: int) -> Inputs:
    m, c = code_constants(scales, bias, choose_shift(scales), zero, lo, hi)
    return {"m": m.tolist(), "c": c.tolist()}


def run_bound(weight: list[list[int]], x_lo: int, x_hi: int) -> Inputs:
    bound = dot_bound(np.array(weight, dtype=np.int64), x_lo, x_hi)
    return {"lo": bound.lo.tolist(), "hi": bound.hi.tolist(), "bits": bound.bits}


def run_norm(v: list[int], epsilon: int, fraction: int, *, center: bool) -> Inputs:
    """A row through equations 22 to 24."""
    row = ints(v)
    k = row_shift(np.abs(row).max(), len(row))
    row = shifted(row, k)
    total = row.sum() * center
    w = energy((row * row).sum(), total, len(row), added_energy(len(row), epsilon, fraction), k)
    r, doublings = inverse_root(w, root_table())
    result = normalize(row * len(row) - total, r, doublings)
    return {"shift": int(k), "w": int(w), "r": int(r), "doublings": int(doublings), "normalized": result.tolist()}


def run_softmax(q: list[int], m: int, shift: int, levels: int) -> Inputs:
    """A row through equations 25 to 29."""
    row = ints(q)
    power = powers(exponents(row.max() - row, m, shift), len(row), power_table())
    factor = row_factor(power.sum(), len(row), levels)
    return {"powers": power.tolist(), "factor": int(factor), "y": probabilities(power, factor, len(row)).tolist()}


def run_resize(q: list[list[int]], shape: list[int], steps: list[int], *, corners: bool) -> Any:
    """Rows and columns through equations 31 to 33."""
    acc = ints(q)  # type: ignore[arg-type]
    for axis in (0, 1):
        step = (steps[2 * axis], steps[2 * axis + 1])
        first, second, weight = neighbours(acc.shape[axis], shape[axis], step, corners=corners)
        acc = between(acc.take(first, axis), acc.take(second, axis), weight[:, None] if axis == 0 else weight)
    return resized(acc).tolist()


FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "code_floor": (3, lambda q, n, b: code_floor(ints(q), n, b).tolist()),
    "narrow_weight": (4, lambda q, n, b, h: narrow_weight(ints(q), n, b, h).tolist()),
    "midpoints": (5, lambda n, b, count: midpoints(n, b, count).tolist()),
    "code_nearest": (6, lambda q, n, b: code_nearest(ints(q), n, b).tolist()),
    "narrow_activation": (6, lambda q, n, b: narrow_activation(ints(q), n, b).tolist()),
    "dot_from_codes": (7, lambda cw, cx, **k: dot_from_codes(ints(cw), ints(cx), **k).tolist()),
    "requantize": (8, lambda acc, m, c, shift, lo, hi: requantize(ints(acc), m, c, shift, lo, hi).tolist()),
    "scale": (9, run_scale),
    "area_multiplier": (30, area_multiplier),
    "code_constants": (39, run_codes),
    "neighbours": (
        31,
        lambda i, o, step, corners: [a.tolist() for a in neighbours(i, o, tuple(step), corners=corners)],
    ),
    "resize": (33, run_resize),
    "add_constants": (11, lambda *steps: asdict(add_constants(*steps))),
    "add": (11, lambda q1, q2, k, lo, hi: add(ints(q1), ints(q2), AddConstants(**k), lo, hi).tolist()),
    "multiply_constants": (12, lambda *steps: asdict(multiply_constants(*steps))),
    "multiply": (12, lambda q1, q2, k, lo, hi: multiply(ints(q1), ints(q2), MultiplyConstants(**k), lo, hi).tolist()),
    "general_bits": (13, general_bits),
    "dot_bound": (14, run_bound),
    "activation_product_bound": (21, lambda a, b, count: list(activation_product_bound(tuple(a), tuple(b), count))),
    "norm": (24, run_norm),
    "inverse_root": (23, lambda w: [part.tolist() for part in inverse_root(ints(w), root_table())]),
    "power_table": (26, lambda: power_table().tolist()),
    "softmax": (29, run_softmax),
}
"""Name in a vector file -> equation, function of the case's inputs."""


def call(name: str, inputs: Inputs | list[Any]) -> Any:
    """The expected value of one case, from plain JSON to plain JSON."""
    function = FUNCTIONS[name][1]
    return function(**inputs) if isinstance(inputs, dict) else function(*inputs)


def nested_cases() -> Iterator[tuple[str, Any]]:
    for n in (8, 5, 2):
        signed, unsigned = list(range(-(2 ** (n - 1)), 2 ** (n - 1))), list(range(2**n))
        for b in range(1, n + 1):
            yield "midpoints", {"n": n, "b": b, "count": 5}
            yield "code_floor", {"q": signed, "n": n, "b": b}
            for h in midpoints(n, b, 2).tolist():
                yield "narrow_weight", {"q": signed, "n": n, "b": b, "h": h}
            yield "code_nearest", {"q": unsigned, "n": n, "b": b}
            yield "narrow_activation", {"q": unsigned, "n": n, "b": b}


def fixed_cases() -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(20)
    half = 2**31
    ties = [-5, -3, -1, 0, 1, 3, 5]  # odd multiples of one half, and zero
    for m, c, shift in ((half, half, 32), (half - 1, half, 32), (1, 1, 1), (half - 1, -(2**61), 32), (0, 7 << 20, 20)):
        yield "requantize", {"acc": ties, "m": m, "c": c, "shift": shift, "lo": -128, "hi": 127}
    for shift in (32, 31, 24, 1):
        acc = rng.integers(-(2**31), 2**31, size=16).tolist()
        m, c = int(rng.integers(-half + 1, half)), int(rng.integers(-(2**61), 2**61))
        yield "requantize", {"acc": acc, "m": m, "c": c, "shift": shift, "lo": -(2**23) + 1, "hi": 2**23 - 1}
    for m, area in ((half - 1, 1), (10, 4), (9, 4), (11, 4), (-10, 4), (-9, 4), (2**62, 12544), (7, 15), (7, 14)):
        yield "area_multiplier", {"m": m, "area": area}  # ties up, just below and above; the divisor above the number
    for scales in ([0.25, 0.001], [0.5 - 2.0**-32], [0.5], [1.0, 3.75], [0.0], [2.0**30 - 0.5]):
        yield "scale", {"scales": scales, "bias": [0.0, -1.5, 0.2501], "zero": 128}
    sizes = [0.25, 0.125, 0.1, -0.037, 0.01, 1e-3, 2.3e-4, -1.1e-4, 5e-5, 1.7e-6, 3e-8, 1e-12, 0.0]
    bias = [0.2, -0.7, 31.25, 100.0, -3.3, 0.01, 7.9, 60.0, -0.3, 0.4, -0.04, 12.2, 5.5]
    for zero, lo, hi in ((0, 0, 255), (128, 0, 255), (98, 0, 200), (0, 0, 15), (-1, 0, 255)):
        yield "code_constants", {"scales": sizes, "bias": bias, "zero": zero, "lo": lo, "hi": hi}
    yield "code_constants", {"scales": [0.6, 0.01], "bias": [0.3, 0.3], "zero": 0, "lo": 0, "hi": 255}


def affine_cases() -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(21)
    for steps in ([0.5, 0, 0.25, 128, 1.0, 0], [0.013, 128, 0.021, 128, 0.03, 128], [1.0, 0, 1.0, 0, 1.0, 0]):
        q1, q2 = rng.integers(0, 256, size=(2, 32)).tolist()
        ends1, ends2 = [0, 0, 255, 255], [0, 255, 0, 255]
        for name in ("add", "multiply"):
            yield f"{name}_constants", steps
            k = call(f"{name}_constants", steps)
            yield name, {"q1": q1 + ends1, "q2": q2 + ends2, "k": k, "lo": 0, "hi": 255}
    for bw, ba, z in ((8, 8, 0), (8, 8, 128), (4, 3, 0), (2, 5, 128), (7, 2, 128)):
        cw = rng.integers(-(2 ** (bw - 1)), 2 ** (bw - 1), size=9).tolist()
        cx = rng.integers(0, 2**ba, size=9).tolist()
        yield "dot_from_codes", {"cw": cw, "cx": cx, "n": 8, "bw": bw, "ba": ba, "z": z}


def bounds_cases() -> Iterator[tuple[str, Any]]:
    for n, taps in ((8, 1), (8, 576), (8, 577), (2, 4), (5, 1025)):
        yield "general_bits", {"n": n, "taps": taps}
    weight = [[-128, 127, 0, 5], [1, 2, 3, 4], [-1, -2, -3, -4]]
    for x_lo, x_hi in ((0, 255), (-128, 127), (0, 0)):
        yield "dot_bound", {"weight": weight, "x_lo": x_lo, "x_hi": x_hi}
    for a, b in (((0, 255), (0, 255)), ((-128, 127), (0, 255)), ((-128, 127), (-64, 191))):
        yield "activation_product_bound", {"a": a, "b": b, "count": 197}


def roots_cases() -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(22)
    first = [1, 2, 3, 4, 5, 2**30 - 1, 2**30, 2**31, 2**60 - 1, 2**60, 2**61, 2**62 - 1]
    ends = [v for i in range(32, 128) for v in (i << 55, ((i + 1) << 55) - 1)]  # of every interval of the table
    yield "inverse_root", {"w": first + ends}
    for center in (True, False):
        yield (
            "norm",
            {"v": [7], "epsilon": 0, "fraction": 0, "center": center},
        )  # a row of one: no deviation, or only itself
        yield "norm", {"v": [0, 0, 0], "epsilon": 0, "fraction": 0, "center": center}  # 0 / 0 is 0
        yield "norm", {"v": [5, 5, 5, 5], "epsilon": 43, "fraction": 32, "center": center}
        yield "norm", {"v": [-(2**15) + 1, 2**15 - 1] * 4, "epsilon": 1 << 32, "fraction": 32, "center": center}
        for low, high, count in ((0, 256, 9), (-128, 128, 16), (-32767, 32768, 33), (-(2**31) + 1, 2**31, 60)):
            v = rng.integers(low, high, size=count).tolist()
            yield "norm", {"v": v, "epsilon": int(rng.integers(0, 2**34)), "fraction": 34, "center": center}


def powers_cases() -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(23)
    yield "power_table", {}
    for levels in (255, 15, 1, 32767):
        yield "softmax", {"q": [3], "m": 2**30, "shift": 20, "levels": levels}
        yield "softmax", {"q": [9, 9, 9, 9], "m": 2**30, "shift": 20, "levels": levels}
        yield "softmax", {"q": [0, 255, 254, 128], "m": 1477 << 16, "shift": 16, "levels": levels}
        yield "softmax", {"q": [-(2**31) + 1, 2**31 - 1, 0], "m": 2**31 - 1, "shift": 32, "levels": levels}
        for count, spread in ((5, 40), (64, 300), (257, 20000)):
            q = rng.integers(-spread, spread + 1, size=count).tolist()
            yield "softmax", {"q": q, "m": int(rng.integers(2**29, 2**31)), "shift": 26, "levels": levels}


def resize_cases() -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(24)
    for inputs, outputs, step in ((4, 8, (0, 0)), (3, 7, (0, 0)), (7, 3, (0, 0)), (1, 4, (0, 0)), (5, 7, (2, 3))):
        for corners in (False, True):
            yield "neighbours", {"i": inputs, "o": outputs, "step": step, "corners": corners}
    for shape, steps in (
        ((6, 8), (0, 0, 0, 0)),
        ((6, 8), (1, 2, 1, 2)),
        ((5, 3), (0, 0, 0, 0)),
        ((4, 11), (2, 3, 3, 7)),
    ):
        for low, high in ((0, 256), (-(2**31) + 1, 2**31)):
            for corners in (False, True):
                q = rng.integers(low, high, size=(3, 4)).tolist()
                yield "resize", {"q": q, "shape": shape, "steps": steps, "corners": corners}


FILES: dict[str, Callable[[], Iterator[tuple[str, Any]]]] = {
    "nested.json": nested_cases,
    "fixed.json": fixed_cases,
    "affine.json": affine_cases,
    "bounds.json": bounds_cases,
    "resize.json": resize_cases,
    "roots.json": roots_cases,
    "powers.json": powers_cases,
}


def text(cases: Iterator[tuple[str, Any]]) -> str:
    """The vector file of ``cases``, one case a line."""
    lines = (
        json.dumps({"function": name, "equation": FUNCTIONS[name][0], "in": inputs, "out": call(name, inputs)})
        for name, inputs in cases
    )
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    for file, cases in FILES.items():
        (HERE / file).write_text(text(cases()))
