"""Two threads for one input, beside two single-threaded runs at the same time, which are the machine's limit."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bench.common import Check
from bench.serving.common import Call, Measured, Setting, noise, ratios, spread, turns
from dqt.runtime import Runtime

NETWORKS, WIDTHS = ("resnet50", "resnet18"), (8, 4)
SPEEDUP = 1.8
PAIRS = 4


def measure(setting: Setting) -> Measured:
    """Speed-ups by network and width."""
    results: dict[str, Any] = {}
    checks = []
    for name in NETWORKS:
        program, x = setting.program(name), noise(name)
        one, two = (Runtime(program, threads=count) for count in (1, 2))
        for b in WIDTHS:
            with ThreadPoolExecutor(2) as pool:
                calls: dict[str, Call] = {
                    "one": partial(one, x, b),
                    "two": partial(two, x, b),
                    "side by side": partial(_pairs, pool, one, x, b),
                }
                found = turns(calls, setting.seconds, time.perf_counter)
            speedup = ratios(found["one"], found["two"])
            ceiling = [2 * PAIRS * a / c for a, c in zip(found["one"], found["side by side"], strict=True)]
            entry = {label: spread(values) for label, values in found.items()}
            entry |= {"speedup": spread(speedup), "ceiling": spread(ceiling)}
            results[f"{name} at {b}"] = entry
            print(f"{name} at {b}: {entry['speedup']['median']:.3f}, of {entry['ceiling']['median']:.3f}", flush=True)
            if name == "resnet50":
                what = f"{name} at {b} bits, time of one thread over that of two"
                checks.append(Check(what, entry["speedup"]["median"], ">=", SPEEDUP))
        time.sleep(0.1)
    return results, checks


def _pairs(pool: ThreadPoolExecutor, run: Runtime, x: Any, b: int) -> None:
    def some() -> None:
        for _ in range(PAIRS):
            run(x, b)

    for each in [pool.submit(some) for _ in range(2)]:
        each.result()
