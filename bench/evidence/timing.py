"""The time of each point of a run: one thread, milliseconds for an image, all points in turns."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from bench.evidence.judging import Floats, Judging
from dqt.arith.cascade import Cascade
from dqt.arith.plan import AUTO, Plan
from dqt.runtime import Runtime
from dqt.runtime.bench import pinned

if TYPE_CHECKING:
    from bench.evidence.records import Point
    from dqt.arith.plan import PlanLike

IMAGES, BATCH, ROUNDS = 2048, 32, 5


def times(judging: Judging, images: int = IMAGES) -> None:
    """Every point but the dealt choices, which no plan stands for; of test images."""
    run, x = Runtime(judging.program, threads=1), judging.inputs[:images]
    plans = {point.label: plan_of(point) for point in judging.record.points if point.kind != "dealt"}
    found: dict[str, list[float]] = {label: [] for label in plans}
    with pinned(1):
        for _ in range(ROUNDS):
            for label, plan in plans.items():
                found[label].append(_milliseconds(run, x, plan))
    judging.timed({label: median(each) for label, each in found.items()}, {"images": len(x), "batch": BATCH})


def plan_of(point: Point) -> PlanLike:
    """What a point ran."""
    if point.by_layer is not None:
        return Plan.of(point.by_layer)
    if point.widths is not None and point.margins is not None:
        return Cascade(point.widths, point.margins)
    return AUTO if point.kind == "auto" else point.bits


def _milliseconds(run: Runtime, x: Floats, plan: PlanLike) -> float:
    """Of this thread on the processor, for an image: what waits while something else has the core is not counted."""
    run(x[:BATCH], plan)
    start = time.thread_time()
    for first in range(0, len(x), BATCH):
        run(x[first : first + BATCH], plan)
    return 1e3 * (time.thread_time() - start) / len(x)
