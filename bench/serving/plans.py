"""Time of a run after a change of the width plan, beside a run with the same plan again.

For comparison: the time that other methods take to requantize the weights of ResNet-50 from 8 bits to 4.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import Check
from bench.serving.common import Call, Measured, Setting, noise, ratios, spread, timed
from bench.serving.requantize import baselines, weights_of
from dqt.arith.plan import Plan
from dqt.runtime import Runtime

NETWORKS, PAIR = ("resnet18", "resnet50"), (8, 4)
BLOCKS, CHANGES = 10, 200
SHARE, GROWTH = 0.005, 1 << 20
RUN = "a run at 8 bits"


def measure(setting: Setting) -> Measured:
    """What a change of every layer's width costs, and what the others pay for theirs."""
    results: dict[str, Any] = {}
    checks = []
    for name in NETWORKS:
        run, x = Runtime(setting.program(name), threads=1), noise(name)
        found = _changes(run, x, setting.seconds) | _memory(run, x)
        results[name] = found
        for b in PAIR:
            what = f"{name}, time of a run at {b} bits after a change of every layer, over that after no change, less 1"
            checks.append(Check(what, round(found[f"to {b}"]["ratio"]["median"] - 1, 5), "<=", SHARE))
        checks.append(Check(f"{name}, bytes grown by {CHANGES} random plans", found["grown"], "<=", GROWTH))
        print(name, found, flush=True)
    results["others"] = _others(setting)
    return results, checks


def _plan(run: Runtime, b: int) -> Plan:
    """Every layer at ``b``, first and last too."""
    return Plan.of(dict.fromkeys(run.program.layers, b))


def _changes(run: Runtime, x: Any, seconds: float) -> dict[str, Any]:
    """Plans in the order P P Q Q P P ...: each run but the first follows either another plan or the same."""
    calls = {b: partial(run, x, _plan(run, b)) for b in PAIR}
    for call in calls.values():
        call()
    times: dict[int, tuple[list[float], list[float]]] = {b: ([], []) for b in PAIR}
    end = time.perf_counter() + 2 * seconds
    while time.perf_counter() < end:
        for b in PAIR:
            times[b][0].append(timed(calls[b]))
            times[b][1].append(timed(calls[b]))
    entry: dict[str, Any] = {}
    for b, (changed, same) in times.items():
        each = ratios(changed, same)
        blocks = [float(np.median(part)) for part in np.array_split(each, BLOCKS)]
        entry[f"to {b}"] = {
            "changed_ms": spread(changed),
            "same_ms": spread(same),
            "difference_ms": spread([a - b for a, b in zip(changed, same, strict=True)]),
            "ratio": {**spread(blocks), "median": round(float(np.median(each)), 5), "pairs": len(each)},
        }
    return entry


def _memory(run: Runtime, x: Any) -> dict[str, Any]:
    """Resident bytes before and after many plans, drawn at random layer by layer."""
    rng = np.random.default_rng(0)
    layers, widths = run.program.layers, run.program.space.widths
    plans = [Plan.of({name: tuple(rng.choice(widths, 2).tolist()) for name in layers}) for _ in range(CHANGES)]
    master = sum(layer.weights for layer in run.program.space.layers)
    for b in widths:
        run(x, b)
    before, packed = resident(), run.weight_bytes
    for plan in plans:
        run(x, plan)
    return {
        "weights": master,
        "packed_bytes": packed,
        "packed_bytes_after": run.weight_bytes,
        "grown": resident() - before,
    }


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _others(setting: Setting) -> dict[str, Any]:
    """Label -> milliseconds to take every weight of ResNet-50 from 8 bits to 4, beside a run; all take turns."""
    program = setting.program("resnet50")
    calls: dict[str, Call] = {RUN: partial(Runtime(program, threads=1), noise("resnet50"), 8)}
    calls |= baselines(weights_of(program))
    found: dict[str, list[float]] = {label: [] for label in calls}
    end = time.perf_counter() + 2 * setting.seconds
    while len(found[RUN]) < BLOCKS or time.perf_counter() < end:
        for label, call in calls.items():
            call()
            found[label].append(timed(call))
    for label, values in found.items():
        print(f"{label}: {np.median(values):.3f} ms", flush=True)
    return {label: spread(values) for label, values in found.items()}
