"""The pictures of docs/results.md, and the first one of README.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.evidence.records import Point, Record, mean
from bench.pages.targets import BASE, DYNAMIC, WIDE, Runs, fixed_network, top1
from dqt.report.plots import COLOURS, RC

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "widths": "Top-1 by width: one nested model, and its rivals",
    "dynamic": "Top-1 against mean BitOPs: uniform widths, searched plans, cascades, controllers",
    "time": "Top-1 against measured time: uniform widths, searched plans, cascades, controllers",
    "wide": "Wide layers: top-1 against measured time",
}
LINES = {
    BASE: ("one nested model, norm by width", COLOURS["auto"], "o-"),
    "any-width-shared": ("one nested model, one norm", COLOURS["cascade"], "s-"),
    "truncated": ("trained at 8 bits, truncated", COLOURS["random"], "x--"),
}
ALONE = (2, 3, 4, 8)
WIDTHS = (2, 3, 4, 5, 6, 7, 8)
FLOOR, ROOM = 84.0, 4.0
"""Accuracy below this would flatten what is above: the axis ends here, and the table has the numbers. A picture that
has not so much above it shows all."""


def drawable(name: str, runs: Runs) -> bool:
    """Whether there is anything to draw."""
    if name in ("time", "wide"):
        records = runs.get(WIDE, []) if name == "wide" else fixed_network(runs)
        return any(point.ms for record in records for point in record.points)
    needed = [*LINES, *(f"dedicated-{b}" for b in ALONE)] if name == "widths" else [BASE, *DYNAMIC]
    return any(each in runs for each in needed)


def draw(runs: Runs, folder: Path) -> None:
    """Write every picture that has something to show."""
    for name, paint in KINDS.items():
        if drawable(name, runs):
            folder.mkdir(parents=True, exist_ok=True)
            _save(lambda axes, paint=paint: paint(axes, runs), folder / f"{name}.svg")  # type: ignore[misc]


def draw_front(record: Record, untrained: Sequence[Point], float_top1: float, path: Path) -> None:
    """The trained network at every width and as a cascade, beside the same network without training."""

    def paint(axes: Axes) -> None:
        axes.axhline(float_top1, color=COLOURS["ink"], linewidth=0.8, linestyle=":", label="float")
        kinds = (
            (record.of("cascade"), "D", "one file, cascades: unsure images again at more bits", COLOURS["cascade"]),
            (record.of("uniform"), "o-", "one file, 2 to 8 bits, trained", COLOURS["plan"]),
            (untrained, "o--", "one file, 2 to 8 bits, without training", COLOURS["random"]),
        )
        for points, style, label, colour in kinds:
            x, y = _against(points, _relative_bitops)
            axes.plot(x, y, style, label=label, color=colour, markersize=5, linewidth=1)
        for point in record.of("uniform"):
            place = 100 * point.share, 100 * point.accuracy
            away = (0, 8) if point.share > 0.3 else (0, -15)  # where neither cascades nor the other network are
            axes.annotate(f"{point.bits} bits", place, xytext=away, textcoords="offset points", ha="center")
        _bitops_axis(axes)

    path.parent.mkdir(parents=True, exist_ok=True)
    _save(paint, path)


def draw_choices(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy against time of the rows of :mod:`bench.controller_times`: one network, chosen on held-out images."""
    styles = {
        "uniform": ("uniform widths, 2 to 8 bits", "o-", "plan"),
        "cascade": ("cascades", "D", "cascade"),
        "controller": ("controllers that run again", "*", "auto"),
    }

    def paint(axes: Axes) -> None:
        for kind, (words, style, colour) in styles.items():
            mine = [(row["time"], row["top1"]) for row in rows if row["kind"] == kind]
            x, y = zip(*mine, strict=True)
            axes.plot(x, y, style, label=words, color=COLOURS[colour], markersize=7, linewidth=1)
        axes.set_xlabel("time of an image over that of 8 bits, one thread")

    path.parent.mkdir(parents=True, exist_ok=True)
    _save(paint, path)


def _save(paint: Callable[[Axes], None], path: Path) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(RC):
        figure = Figure(figsize=(8.2, 4.4), layout="constrained")
        axes = figure.add_subplot()
        paint(axes)
        axes.set_ylabel("top-1, %")
        axes.grid(color=COLOURS["faint"], linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, FLOOR) if high > FLOOR + ROOM else low, high)
        axes.legend(frameon=False, loc="lower right", labelcolor=COLOURS["ink"])
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(path, metadata=nothing, facecolor=COLOURS["paper"])


def _widths(axes: Axes, runs: Runs) -> None:
    for name, (words, colour, style) in LINES.items():
        _line(axes, WIDTHS, [top1(runs, name, b) for b in WIDTHS], style, label=words, color=colour)
    found = [top1(runs, f"dedicated-{b}", b) for b in ALONE]
    _line(axes, ALONE, found, "D", label="a model for each width", color=COLOURS["plan"])
    axes.set_xlabel("bits")
    axes.set_xticks(WIDTHS)


def _line(axes: Axes, x: Sequence[int], values: Sequence[Sequence[float]], style: str, **more: Any) -> None:
    kept = [(b, mean(found), min(found), max(found)) for b, found in zip(x, values, strict=True) if found]
    if kept:
        bits, middle, low, high = zip(*kept, strict=True)
        below = [m - v for m, v in zip(middle, low, strict=True)]
        above = [v - m for m, v in zip(middle, high, strict=True)]
        axes.errorbar(bits, middle, yerr=[below, above], fmt=style, capsize=2, **more)


def _dynamic(axes: Axes, runs: Runs) -> None:
    _by_input(axes, runs, _relative_bitops)
    _bitops_axis(axes)


def _relative_bitops(point: Point) -> float:
    return 100 * point.share


def _bitops_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    ticks = (7, 10, 15, 20, 30, 40, 60, 100)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("mean BitOPs, % of 8 bits")


def _time(axes: Axes, runs: Runs) -> None:
    _by_input(axes, runs, lambda point: point.ms)
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds for an image, one thread")


def _wide(axes: Axes, runs: Runs) -> None:
    _time(axes, {BASE: runs[WIDE]})


def _by_input(axes: Axes, runs: Runs, cost: Callable[[Point], float | None]) -> None:
    """Accuracy against a cost, of the points that have it."""
    styles = {"uniform": ("uniform widths", "o-"), "plan": ("searched plan", "s"), "cascade": ("cascade", "D")}
    for place, record in enumerate(fixed_network(runs)):
        for kind, (words, style) in styles.items():
            label = "" if place else words
            x, y = _against(record.of(kind), cost)  # type: ignore[arg-type]
            if x:
                axes.plot(x, y, style, label=label, color=COLOURS[kind], markersize=5, linewidth=1)
    x, y = _against(
        [point for name in DYNAMIC for record in runs.get(name, []) for point in record.of("auto")[:1]], cost
    )
    if x:
        axes.plot(x, y, "*", label="controller", color=COLOURS["auto"], markersize=12)


def _against(points: Sequence[Point], cost: Callable[[Point], float | None]) -> tuple[list[float], list[float]]:
    """Costs, and accuracies in percent."""
    known = [(at, 100 * point.accuracy) for point in points if (at := cost(point)) is not None]
    return [at for at, _ in known], [top1 for _, top1 in known]


KINDS: dict[str, Callable[[Axes, Runs], None]] = {"widths": _widths, "dynamic": _dynamic, "time": _time, "wide": _wide}
