"""What fewer bits cost on hardware: time, and energy where the machine shows it, beside BitOPs."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench.common import Check
from bench.energy import counters, millijoules
from bench.serving.common import Measured, Setting, noise, ratios, spread, turns
from dqt.arith.cost import cost
from dqt.runtime import Runtime

NETWORKS = ("resnet18", "resnet50", "mobilenet_v2", "resnet20")


def measure(setting: Setting) -> Measured:
    """Network and uniform width -> milliseconds, times 8 bits', share of BitOPs, millijoules or None."""
    results: dict[str, Any] = {}
    checks: list[Check] = []
    packages = counters()
    for name in NETWORKS:
        program, x = setting.program(name), noise(name)
        run, widths = Runtime(program, threads=1), sorted(program.space.widths, reverse=True)
        calls = {b: partial(run, x, b) for b in widths}
        ms = turns({str(b): call for b, call in calls.items()}, setting.seconds)
        results[name] = {
            b: {
                "ms": spread(ms[str(b)]),
                "of_8": spread(ratios(ms[str(b)], ms["8"])),
                "bitops": cost(program, b).share,
                "mj": millijoules(call, setting.seconds / len(calls), packages),
            }
            for b, call in calls.items()
        }
        print(name, {b: (each["ms"]["median"], each["mj"]) for b, each in results[name].items()}, flush=True)
    return results, checks
