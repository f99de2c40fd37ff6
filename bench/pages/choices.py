"""The table at the head of "Widths by input" in docs/results.md: every design beside the others, from their records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from statistics import mean
from typing import Any

from bench.common import records_of
from bench.evidence.records import Record
from bench.markdown import table
from bench.pages.targets import AT_3_BITS, Runs, uniform_at

HEADERS = ("what decides", "network", "BitOPs, %", "over the same dealt", "over uniform widths", "over the cascade")
RUN = {
    "again, by features": "means of the first two stages",
    "again, by outputs": "the sorted outputs",
    "again, by both": "both",
}
INSIDE = {
    "after layer1": "inside, by features of layer1: the width of the rest",
    "after layer2": "inside, by features of layer1 and layer2: the width of layer3",
}
HEADS = {
    "softened choice, by the margin": "behind a run at 2 bits, by the margin, taught by a softened choice",
    "less loss, by the margin": "the same, taught what each choice gains",
    "odds, by the margin": "the same, by the odds that each width is right",
}
SHARED, THREE = "resnet20", 3.0
Row = tuple[str, ...]


def block(runs: Runs) -> str:
    """The table; empty where nothing was measured."""
    rows = [*_stem(runs.get(AT_3_BITS, [])), *_late(), *_again(), *_looks(), *_integers(), *_joint()]
    return table(HEADERS, rows, left=2) if rows else ""


def _read(name: str) -> dict[str, Any]:
    paths = records_of(name)
    found: dict[str, Any] = json.loads(paths[-1].read_text())["results"] if paths else {}
    return found


def _row(what: str, network: str, figures: Mapping[str, Any], cascade: float | None = None, unit: float = 1.0) -> Row:
    """Points of ``own`` over the others; ``cascade``: top-1 of the best cascade on the same images."""
    known = {key: _mean(figures[key]) for key in ("own", "dealt", "uniform", "share") if key in figures}
    over = [known.get("dealt"), known["uniform"], cascade]
    return (what, network, f"{unit * known['share']:.2f}", *(_points(known["own"], other) for other in over))


def _points(own: float, other: float | None) -> str:
    return "" if other is None else f"{own - other:+.2f}"


def _mean(value: Any) -> float:
    return float(mean(value)) if isinstance(value, list) else float(value)


def _stem(found: list[Record]) -> Iterator[Row]:
    """The controllers that read the stem."""
    kinds = [{kind: record.of(kind)[0] for kind in ("auto", "dealt", "cascade")} for record in found]
    if kinds:
        figures = {
            "own": [100 * each["auto"].accuracy for each in kinds],
            "dealt": [100 * each["dealt"].accuracy for each in kinds],
            "uniform": [uniform_at(record, each["auto"].share) for record, each in zip(found, kinds, strict=True)],
            "share": [each["auto"].share for each in kinds],
        }
        cascade = 100 * mean(each["cascade"].accuracy for each in kinds)
        yield _row("the stem's means: a width for each layer", SHARED, figures, cascade, 100)


def _late() -> Iterator[Row]:
    found = _read("late")
    for name, words in (INSIDE | {name: f"behind a run at 2 bits, by {words}" for name, words in RUN.items()}).items():
        if name in found:
            yield _row(words, SHARED, found[name], unit=100)


def _again() -> Iterator[Row]:
    found = _read("again")
    if found:
        best = max(mean(each["own"]) for each in found["cascades"].values())
        for name, words in HEADS.items():
            yield _row(words, SHARED, found["heads"][name], best, 100)
        name, cascade = max(found["cascades"].items(), key=lambda each: mean(each[1]["own"]))
        yield _row(f"the best cascade, {name}", SHARED, cascade, unit=100)


def _looks() -> Iterator[Row]:
    found = _read("looks")
    if found:
        best = max(mean(each["own"]) for each in found["cascades"].values())
        look = max(found["rows"], key=lambda row: mean(row["own"]))
        name = " then ".join(map(str, look["widths"]))
        yield _row(f"learned stops after every run, the best of all: {name}", SHARED, look, best, 100)


def _integers() -> Iterator[Row]:
    for network, found in _read("controller").items():
        for row in found["rows"]:
            if (row["bits"], row["learned"]) == (THREE, "held-out images"):
                words = "in integers, a controller that runs again, taught by held-out images"
                yield _row(words, network, row, _mean(row["cascade"]))
                both = {"own": row["cascade"], "uniform": row["cascade's uniform"], "share": row["cascade share"]}
                yield _row("the cascade for the same budget", network, both)


def _joint() -> Iterator[Row]:
    rows = _read("joint").get("wide-joint", {}).get("inside", {})
    for label, row in rows.items():
        if isinstance(row, dict):
            unit = 100 if isinstance(row["share"], list) else 1
            yield _row(f"inside, trained with it in view: {label}", "wide-joint", row, unit=unit)
