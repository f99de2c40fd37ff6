"""The tables of docs/results.md on the network in which few bits take less time: from the records of its runs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.common import timed_on
from bench.evidence.records import FloatRecord, Point, Record
from bench.markdown import table
from bench.pages.targets import LESS, WIDE, WIDE_FLOAT, Runs, float_top1, like_8_bits, uniform_at

NOTE = """One thread, batches of {batch}, {images:,} test images, processor time over that of uniform 8 bits, which take
{full:.3f} ms an image ({where}).
"""
CHOSEN = """Of all that loses {less:g} points or less against 8 bits on the held-out images, {what} is
fastest. On the test images it takes {time:.2f} of the time of 8 bits and is {behind:.2f} points below them.
"""
FRONTIER = ("kind", "widths", "held-out", "BitOPs, %", "top-1", "uniform there", "time")


def blocks(runs: Runs, floats: Sequence[FloatRecord]) -> dict[str, str]:
    """Name of each block -> its content; "not yet run" without a record."""
    record = next(iter(runs.get(WIDE, [])), None)
    if record is None:
        return {"wide": "Not yet run.\n", "wide-frontier": ""}
    return {"wide": _widths(record, float_top1(floats, WIDE_FLOAT)), "wide-frontier": _frontier(record)}


def _widths(record: Record, floats: Sequence[float]) -> str:
    points = record.of("uniform")[::-1]
    rows = [
        ("top-1, test images", _percent(floats[0] / 100 if floats else None), *(_percent(p.accuracy) for p in points)),
        ("top-1, held-out images", "", *(_percent(p.held_out) for p in points)),
        ("BitOPs, % of 8 bits", "", *(f"{100 * p.share:.1f}" for p in points)),
        ("time, 8 bits = 1", "", *(_relative(record, p) for p in points)),
    ]
    return table(("", "float", *(f"{p.bits} bits" for p in points)), rows) + "\n" + _note(record)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _relative(record: Record, point: Point) -> str:
    full = record.of("uniform")[-1].ms
    return "" if full is None or point.ms is None else f"{point.ms / full:.2f}"


def _note(record: Record) -> str:
    full = record.of("uniform")[-1].ms
    if record.timed is None or full is None:
        return ""
    machine = record.timed["machine"]
    return NOTE.format(**record.timed, full=full, where=timed_on(machine))


def _frontier(record: Record) -> str:
    rows = [
        (
            point.kind,
            described(point),
            _percent(point.held_out),
            f"{100 * point.share:.2f}",
            _percent(point.accuracy),
            f"{uniform_at(record, point.share):.2f}",
            _relative(record, point),
        )
        for point in sorted((*record.of("plan"), *record.of("cascade")), key=lambda point: point.share)
    ]
    return (table(FRONTIER, dict.fromkeys(rows), left=2) if rows else "") + "\n" + _chosen(record)


def described(point: Point) -> str:
    """The widths of a point."""
    if point.widths is not None:
        return " then ".join(map(str, point.widths))
    return "by layer" if point.bits is None else f"{point.bits} bits"


def _chosen(record: Record) -> str:
    found = like_8_bits(record)
    if found is None:
        return ""
    what = {"uniform": "uniform ", "cascade": "the cascade "}[found.point.kind] + described(found.point)
    return CHOSEN.format(what=what, less=LESS, time=found.time, behind=found.behind)
