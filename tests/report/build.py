"""Synthetic results, with names that would break a careless page."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqt.report.results import Results

NASTY = "<script>alert('x')</script> | *stem* & \"co\""
NAMES = ("conv1", *(f"layer{i}.{j}.conv{k}" for i in (1, 2, 3) for j in (0, 1) for k in (1, 2)), "head")
ACCURACY = {8: 0.976, 7: 0.976, 6: 0.975, 5: 0.974, 4: 0.972, 3: 0.958, 2: 0.914}


def uniform(bits: int) -> dict[str, Any]:
    widths = {name: [8, 8] if name in ("conv1", "head") else [bits, bits] for name in NAMES}
    return {
        "label": f"{bits} bits",
        "kind": "uniform",
        "bits": bits,
        "widths": widths,
        "accuracy_trained": ACCURACY[bits] + 0.001,
        "accuracy_integer": ACCURACY[bits],
        "agreement": 0.999,
        "bitops": 40.55e6 * (0.02 * 64 + 0.98 * bits**2),
        "share": 0.02 + 0.98 * bits**2 / 64,
    }


def other(label: str, kind: str, mean: float, accuracy: float) -> dict[str, Any]:
    rng = np.random.default_rng(len(label))
    widths = {name: rng.integers(2, 9, size=2).tolist() if kind == "plan" else [mean, mean] for name in NAMES}
    share = mean**2 / 64
    row = {"label": label, "kind": kind, "widths": widths, "accuracy_integer": accuracy}
    return row | {"bitops": 40.55e6 * 64 * share, "share": share}


def sample(index: int) -> dict[str, Any]:
    rng = np.random.default_rng(index)
    shape = (8, 8) if index % 2 else (8, 8, 3)
    return {
        "image": rng.integers(0, 256, size=shape).tolist(),
        "widths": rng.integers(2, 9, size=len(NAMES)).tolist(),
        "label": str(index % 10),
        "prediction": str(index % 10 if index % 5 else 3),
        "difficulty": "easy" if index < 8 else "hard" if index < 16 else "between",
    }


def times() -> dict[str, Any]:
    """Results whose rows were timed: 1 ms at 8 bits, and in proportion to the bits below."""
    rows = [uniform(bits) | {"time": {"ms": bits / 8, "p10": bits / 9, "p90": bits / 7}} for bits in ACCURACY]
    return plain(rows=[*rows, other("auto", "auto", 3.4, 0.971)], timing="one thread")


def plain(**changes: Any) -> dict[str, Any]:
    """Results as plain JSON values."""
    rng = np.random.default_rng(1)
    layers = [
        {"name": name, "macs": 2_400_000, "weights": 9_216, "accumulator_bits": int(rng.integers(17, 25))}
        for name in NAMES
    ]
    histogram = {name: {str(b): int(rng.integers(0, 90)) for b in (2, 4, 8)} | {"3": 1} for name in NAMES[1:-1]}
    rows = [uniform(bits) for bits in ACCURACY]
    rows += [other("searched plan, 25 %", "plan", 4.1, 0.9735), other("auto", "auto", 3.4, 0.971)]
    rows += [other("cascade 2, 8", "cascade", 3.1, 0.9745), other("random", "random", 3.4, 0.946)]
    return {
        "version": 1,
        "name": "Digits",
        "data": "scikit-learn digits, test split",
        "samples": 360,
        "model_bytes": 54_321,
        "layers": layers,
        "rows": rows,
        "auto": {
            "histogram": histogram,
            "samples": [sample(i) for i in range(24)],
            "by_sample": ["".join(str(width) for width in rng.integers(2, 9, size=len(NAMES))) for _ in range(40)],
        },
        **changes,
    }


def results(**changes: Any) -> Results:
    """The same, checked."""
    return Results.model_validate(plain(**changes))
