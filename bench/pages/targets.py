"""The targets of docs/results.md, met or missed. Numbers are means over seeds, in percent or points of top-1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.evidence.records import FloatRecord, Point, Record, mean

ANY_WIDTH = {8: 91.7, 6: 91.7, 5: 91.7, 4: 91.3, 3: 90.8, 2: 89.0}
BEHIND_DEDICATED = {8: 0.3, 4: 0.3, 3: 0.3, 2: 1.0}
RIVALS = {
    "any-width-float-15": {b: f"dedicated-{b}" for b in BEHIND_DEDICATED},
    "any-width-resnet56": {b: f"dedicated-{b}-resnet56" for b in BEHIND_DEDICATED},
}
"""The models of one width that a nested one stands beside, with the same epochs and images."""
BASE, SHIPPED_SEED = "any-width-resnet56-30", 1
"""The nested model of which the targets are asked: the last one made, whatever it reached; and which seed ships."""
LIKE_FOR_LIKE = "any-width-resnet56"
"""The last one that has rivals of as many epochs."""

DYNAMIC = ("dynamic-25", "dynamic-3", "dynamic-4")
AT_3_BITS = "dynamic-3"

RESNET18, RESNET18_FLOAT = "resnet18", "cifar10-resnet18"
FASHION, FASHION_FLOAT = ("fashion", "fashion-float", "fashion-float-10"), "fashion"
FLOAT_AT_LEAST, AT_4_BITS = 95.0, 92.6
WIDE, WIDE_FLOAT = "wide", "cifar10-wide"
LESS, PART_OF_THE_TIME, PART_WITH_VNNI = 0.1, 0.65, 0.8
"""Points that the fastest way to the accuracy of 8 bits may lose, and its time over that of 8 bits: without VNNI,
and with it, which makes 8 bits fast."""
BEHIND_FLOAT = {4: 0.3, 2: 1.5}


@dataclass(frozen=True)
class Verdict:
    """One target; ``value`` is None where what it needs has not been run."""

    what: str
    relation: Literal["<=", ">="]
    target: float
    value: float | None
    unit: str = ""

    @property
    def words(self) -> str:
        """``met``, ``missed`` or ``not yet run``."""
        if self.value is None:
            return "not yet run"
        gap = round(self.value - self.target, 6)
        return "met" if (gap <= 0 if self.relation == "<=" else gap >= 0) else "missed"


Runs = dict[str, list[Record]]
"""The finished runs of each recipe."""


def finished(records: Iterable[Record]) -> Runs:
    """The records whose training is complete and of which something was judged, by recipe."""
    found: Runs = {}
    for record in records:
        if record.training.finished and record.points:
            found.setdefault(record.name, []).append(record)
    return found


def verdicts(runs: Runs, floats: Sequence[FloatRecord] = ()) -> list[Verdict]:
    """Every target."""
    trained = _mean(float_top1(floats, FASHION_FLOAT))
    fashion = [verdict for name in FASHION for verdict in _below_float(runs, name, trained)]
    return [*_widths(runs), *_dynamic(runs), *_controller(runs), *_wide(runs), *_resnet18(runs, floats), *fashion]


def float_top1(floats: Sequence[FloatRecord], name: str) -> list[float]:
    """Top-1 in percent of a float training, for each seed."""
    return [100 * record.accuracy for record in floats if record.name == name]


def top1(runs: Runs, name: str, bits: int) -> list[float]:
    """Top-1 in percent of a uniform width, for each seed that has it."""
    points = (record.uniform(bits) for record in runs.get(name, []))
    return [100 * point.accuracy for point in points if point is not None]


def _widths(runs: Runs) -> list[Verdict]:
    made = [
        Verdict(f"{BASE} at {b} bits", ">=", least, _mean(top1(runs, BASE, b)), "%") for b, least in ANY_WIDTH.items()
    ]
    for b, rival in RIVALS[LIKE_FOR_LIKE].items():
        behind = _behind(_mean(top1(runs, LIKE_FOR_LIKE, b)), _mean(top1(runs, rival, b)))
        made.append(
            Verdict(f"{LIKE_FOR_LIKE} below a model of {b} bits alone", "<=", BEHIND_DEDICATED[b], behind, "points")
        )
    return made


def _behind(ours: float | None, other: float | None) -> float | None:
    return None if ours is None or other is None else other - ours


def _mean(values: Sequence[float]) -> float | None:
    return mean(values) if values else None


# what a record says of its own network


def uniform_at(record: Record, share: float) -> float:
    """Top-1 in percent of uniform widths at a share of BitOPs, on the straight line between its two neighbours: what
    a random mix of the two reaches.
    """
    points = record.of("uniform")
    return float(np.interp(share, [point.share for point in points], [100 * point.accuracy for point in points]))


def mix_at(record: Record, share: float) -> float:
    """Top-1 in percent, expected, where each image runs at the lowest or the highest width at random, at the same
    mean BitOPs.
    """
    points = record.of("uniform")
    low, high = points[0], points[-1]
    return float(np.interp(share, [low.share, high.share], [100 * low.accuracy, 100 * high.accuracy]))


def dearest(points: Sequence[Point], share: float) -> Point | None:
    """Of the points within a share of BitOPs the most expensive one: chosen by its cost, never by its accuracy."""
    return max((point for point in points if point.share <= share + 1e-9), key=lambda point: point.share, default=None)


def _seeds(records: Sequence[Record], measure: Callable[[Record], float | None]) -> float | None:
    """The mean over the records; None where there is none, or one lacks what is measured."""
    values = [measure(record) for record in records]
    known = [value for value in values if value is not None]
    return mean(known) if known and len(known) == len(values) else None


def _larger(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)


# dynamic


def fixed_network(runs: Runs) -> list[Record]:
    """Of the any-width network the seeds on which cascades, plans and controllers were made; all where none was."""
    records = runs.get(BASE, [])
    return [record for record in records if record.of("cascade")] or records


def best_within(runs: Runs, share: float) -> float | None:
    """Top-1 in percent of the better of cascade and controller at a share of BitOPs or below.

    A cascade that sends nothing on is its first width, so the lowest one counts as a cascade, too.
    """

    def one(record: Record) -> float | None:
        point = dearest([*record.of("cascade"), *record.of("uniform")[:1]], share)
        return None if point is None else 100 * point.accuracy

    def auto(record: Record) -> float | None:
        point = dearest(record.of("auto"), share)
        return None if point is None else 100 * point.accuracy

    controllers = (_seeds(runs.get(name, []), auto) for name in DYNAMIC)
    return _larger(_seeds(fixed_network(runs), one), *controllers)


def _gains(runs: Runs, rival: Callable[[Record, float], float]) -> tuple[float | None, float | None]:
    """Points above ``rival`` on the any-width network: of its cascade within the BitOPs of uniform 3 bits (the rival
    spends them all), and of the controllers at their own BitOPs.
    """
    base = fixed_network(runs)

    def cascade(record: Record) -> float | None:
        uniform = record.uniform(3)
        point = None if uniform is None else dearest(record.of("cascade"), uniform.share)
        return None if uniform is None or point is None else 100 * point.accuracy - rival(record, uniform.share)

    def controller(record: Record) -> float | None:
        auto = record.of("auto")
        if not auto or not base:
            return None
        return 100 * auto[0].accuracy - mean(rival(each, auto[0].share) for each in base)

    return _seeds(base, cascade), _seeds(runs.get(AT_3_BITS, []), controller)


def _dynamic(runs: Runs) -> list[Verdict]:
    base = fixed_network(runs)
    at = "at the BitOPs of uniform 3 bits"
    made = [
        Verdict(f"dynamic above uniform widths {at}", ">=", 0.9, _larger(*_gains(runs, uniform_at)), "points"),
        Verdict(
            f"dynamic above a random mix of 2 and 8 bits {at}", ">=", 2.0, _larger(*_gains(runs, mix_at)), "points"
        ),
    ]
    eight = _mean(top1({BASE: base}, BASE, 8))
    for share, behind in ((0.40, 0.0), (0.27, 0.2)):
        best = best_within(runs, share)
        value = None if best is None or eight is None else eight - best
        what = f"dynamic within {100 * share:.0f} % of the BitOPs of 8 bits, below 8 bits"
        made.append(Verdict(what, "<=", behind, value, "points"))
    gaps = [_above_plan(runs, plan) for record in base for plan in record.of("plan")]
    known = [gap for gap in gaps if gap is not None]
    worst = min(known) if known and len(known) == len(gaps) else None
    made.append(Verdict("dynamic above the searched plan, where it is least", ">=", 0.0, worst, "points"))
    return made


def _above_plan(runs: Runs, plan: Point) -> float | None:
    best = best_within(runs, plan.share)
    return None if best is None else best - 100 * plan.accuracy


def _controller(runs: Runs) -> list[Verdict]:
    records = runs.get(AT_3_BITS, [])

    def above(rival: Callable[[Record, float], float | None]) -> float | None:
        def one(record: Record) -> float | None:
            auto = record.of("auto")
            other = rival(record, auto[0].share) if auto else None
            return None if other is None else 100 * auto[0].accuracy - other

        return _seeds(records, one)

    def dealt(record: Record, _: float) -> float | None:
        points = record.of("dealt")
        return 100 * points[0].accuracy if points else None

    at = "at about the BitOPs of uniform 3 bits"
    base = _gains(runs, uniform_at)[1]
    made = [
        Verdict(f"controller above its own choices dealt at random, {at}", ">=", 0.5, above(dealt), "points"),
        Verdict(f"controller above a random mix of 2 and 8 bits, {at}", ">=", 0.5, above(mix_at), "points"),
        Verdict(f"controller above uniform widths of its own network, {at}", ">=", 0.0, above(uniform_at), "points"),
        Verdict(f"controller above uniform widths of the any-width network, {at}", ">=", 0.0, base, "points"),
    ]
    held = [record.controller for name in DYNAMIC for record in runs.get(name, []) if record.controller]
    parameters = [100 * each.parameters / each.model_weights for each in held]
    bitops = [100 * each.bitops / each.model_bitops for each in held]
    for what, shares in (
        ("parameters, of the model's weights", parameters),
        ("BitOPs, of the model's at 8 bits", bitops),
    ):
        made.append(Verdict(f"the controller's {what}", "<=", 1.0, max(shares, default=None), "%"))
    return made


# the network in which few bits take less time


@dataclass(frozen=True)
class LikeFull:
    """The fastest point whose accuracy on the held-out images is that of 8 bits, or up to ``LESS`` points below.

    ``time``: over that of 8 bits.   ``behind``: points below 8 bits on the test images.
    """

    point: Point
    time: float
    behind: float


def like_8_bits(record: Record) -> LikeFull | None:
    """None where 8 bits were not timed, or not judged on the held-out images."""
    full = record.uniform(8)
    if full is None or full.held_out is None or full.ms is None:
        return None
    least = full.held_out - LESS / 100 - 1e-9
    times = {p.label: p.ms for p in record.points if p.ms and p.held_out is not None and p.held_out >= least}
    label = min(times, key=times.__getitem__)
    point = next(point for point in record.points if point.label == label)
    return LikeFull(point, times[label] / full.ms, 100 * (full.accuracy - point.accuracy))


def _wide(runs: Runs) -> list[Verdict]:
    found = [like for record in runs.get(WIDE, []) if (like := like_8_bits(record)) is not None]
    what = f"{WIDE}, the fastest that loses {LESS:g} points or less against 8 bits on held-out images"
    time, behind = _mean([each.time for each in found]), _mean([each.behind for each in found])
    fast = any("vnni" in record.timed["machine"]["processor"] for record in runs.get(WIDE, []) if record.timed)
    return [
        Verdict(f"{what}: time over that of 8 bits", "<=", PART_WITH_VNNI if fast else PART_OF_THE_TIME, time),
        Verdict(f"{what}: below 8 bits on test images", "<=", LESS, behind, "points"),
    ]


# beside the float network of the same kind


def _resnet18(runs: Runs, floats: Sequence[FloatRecord]) -> list[Verdict]:
    trained = _mean(float_top1(floats, RESNET18_FLOAT))
    made = [Verdict("ResNet-18, float", ">=", FLOAT_AT_LEAST, trained, "%")]
    made += _below_float(runs, RESNET18, trained)
    return [*made, Verdict(f"{RESNET18} at 4 bits", ">=", AT_4_BITS, _mean(top1(runs, RESNET18, 4)), "%")]


def _below_float(runs: Runs, name: str, trained: float | None) -> list[Verdict]:
    found = {b: _behind(_mean(top1(runs, name, b)), trained) for b in BEHIND_FLOAT}
    return [
        Verdict(f"{name} at {b} bits below its float network", "<=", most, found[b], "points")
        for b, most in BEHIND_FLOAT.items()
    ]
