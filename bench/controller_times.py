"""The time of late controllers beside uniform widths and cascades, in turns: how fast is the accuracy of 8 bits?

For each program: every uniform width, and for each of several budgets the cascade and controllers of
:mod:`bench.controller` that learned from the held-out images, with all choices and with few, so that an image goes to
many bits at once. A controller that lets every image stop shows what the choice itself takes. Needs a quiet core;
``--isa`` names a kernel set, ``--batch 1`` runs image by image; either writes another record.

    python -m bench.controller_times --data DIR wide=wide.dqt --prepare       once, without a quiet core
    python -m bench.controller_times --data DIR wide=wide.dqt [--isa avx2] [--batch 1]
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench.common import Check, machine, place_of, write
from bench.controller import Subject
from bench.named import SHIPPED, images_of, named_parser, programs_of, results_in
from bench.robust import CASCADES
from dqt.arith.cascade import Cascade
from dqt.arith.files import write_file
from dqt.arith.plan import AUTO, PlanLike
from dqt.nn.controller import LOGITS
from dqt.program.evaluate import evaluate
from dqt.program.file import dumps
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import pinned
from dqt.train.data import Splits

BUDGETS = (0.085, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4)
CHOICES = (CASCADES, (2, 4, 8), (2, 4))
"""Widths that controllers choose from; an image stops after the first or runs again at another."""
IMAGES, BATCH, ROUNDS = 2048, 32, 5
POINTS = "points.json"
LESS, STOPS, CONTROL = 0.1, "all stop", 0.03
AT, PART = BUDGETS[3], 0.9
"""About the BitOPs of uniform 3 bits; part of the cascade's time in which a controller should be as right."""
FASTEST = {"": 0.8, "avx2": 0.65}
"""By kernel set: time at the accuracy of 8 bits less ``LESS`` points, over that of 8 bits."""


@dataclass(frozen=True, eq=False)
class Point:
    """A way to run the images: its accuracy on the held-out and the test images and its BitOPs, in percent.

    ``file`` is the program in the folder of the points, ``plan`` a width, a cascade or "auto".
    """

    kind: str
    label: str
    held_out: float
    top1: float
    share: float
    file: str
    plan: PlanLike

    def milliseconds(self, run: Runtime, x: Any, batch: int) -> float:
        """Of this thread on the processor, for an image."""
        run(x[:batch], self.plan)
        start = time.thread_time()
        for first in range(0, len(x), batch):
            run(x[first : first + batch], self.plan)
        return 1e3 * (time.thread_time() - start) / len(x)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        plan = self.plan.to_json() if isinstance(self.plan, Cascade) else self.plan
        return {**vars(self), "plan": plan}


def kept(folder: Path, name: str, program: Program, splits: Splits) -> list[Point]:
    """The points of a program: those that lie in ``folder``, or made anew and written there."""
    mine = folder / f"{name}-{hashlib.sha256(dumps(program)).hexdigest()[:12]}"
    path = mine / POINTS
    if not path.exists():
        mine.mkdir(parents=True, exist_ok=True)
        made = [point.document() for point in Points(name, program, splits, mine).all()]
        write_file(path, json.dumps(made, indent=1), "\n")
    rows = json.loads(path.read_text())
    plans = [Cascade.from_json(row["plan"]) if row["kind"] == "cascade" else row["plan"] for row in rows]
    return [
        Point(**{**row, "plan": plan, "file": str(mine / row["file"])}) for row, plan in zip(rows, plans, strict=True)
    ]


class Points:
    """Makes all points of one program."""

    def __init__(self, name: str, program: Program, splits: Splits, folder: Path) -> None:
        assert splits.valid is not None
        self.subject, self.splits, self.folder = Subject(name, program), splits, folder
        self.held, self.tested = self.subject.answers(splits.valid), self.subject.answers(splits.test)

    def all(self) -> Iterator[Point]:
        """In the order in which they are timed."""
        network, file = self.subject.network, "network.dqt"
        held, tested = self.held.outcome, self.tested.outcome
        self.subject.program.save(self.folder / file)
        for i, b in enumerate(network.widths):
            yield Point("uniform", f"{b} bits", held.top1[i], tested.top1[i], 100 * network.shares[i], file, b)
        for budget in (each for each in BUDGETS if each > network.shares[0]):
            cascade = network.calibrated(held, budget)
            told, found = (network.judged(each, cascade) for each in (held, tested))
            label = f"{100 * budget:g} %: " + " then ".join(map(str, cascade.widths))
            yield Point("cascade", label, told["top1"], found["top1"], found["share"], file, cascade)
            for choices in CHOICES:
                if budget < network.shares[0] + network.shares[network.widths.index(choices[-1])]:
                    yield self._controller(budget, choices)
        yield self._controller(AT, CASCADES, stops=True)

    def _controller(self, budget: float, choices: tuple[int, ...], *, stops: bool = False) -> Point:
        kind, label = (STOPS, STOPS) if stops else ("controller", f"{100 * budget:g} %: {', '.join(map(str, choices))}")
        file = re.sub(r"\W+", "-", label).strip("-") + ".dqt"
        program = Program.load(self.folder / file) if (self.folder / file).exists() else None
        if program is None:
            program = self._taught(budget, choices, stops)
            program.save(self.folder / file)
        run = Runtime(program, threads=1)
        told, found = (
            evaluate(program, data.inputs().numpy(), AUTO, engine=run.execute)
            for data in (self.splits.valid, self.splits.test)
            if data is not None
        )
        right = (100 * told.accuracy(self.held.labels), 100 * found.accuracy(self.tested.labels))
        return Point(kind, label, *right, 100 * found.share, file, AUTO)

    def _taught(self, budget: float, choices: tuple[int, ...], stops: bool) -> Program:
        net = self.subject.taught(self.held, budget, 0, choices)
        if stops:
            bias = net.layer(LOGITS).bias
            assert bias is not None
            with torch.no_grad():
                bias[1:] -= bias.abs().max() + 1e3
        return self.subject.attached(net)


def timed(points: list[Point], x: Any, batch: int, isa: str | None) -> list[dict[str, Any]]:
    """A row for each point, with its median time over that of the widest uniform width."""
    runs = {file: Runtime(Program.load(file), threads=1, isa=isa) for file in {point.file for point in points}}
    with pinned(1):
        rounds = [[point.milliseconds(runs[point.file], x, batch) for point in points] for _ in range(ROUNDS)]
    ms = [median(each) for each in zip(*rounds, strict=True)]
    full = ms[max(i for i, point in enumerate(points) if point.kind == "uniform")]
    keys = ("kind", "label", "held_out", "top1", "share")
    return [
        {key: _short(getattr(point, key)) for key in keys} | {"ms": round(each, 5), "time": round(each / full, 4)}
        for point, each in zip(points, ms, strict=True)
    ]


def _short(value: str | float) -> str | float:
    return value if isinstance(value, str) else round(value, 4)


def fastest(rows: list[dict[str, Any]], kind: str = "", on: str = "held_out") -> dict[str, Any]:
    """What is fastest of all (of a kind) that loses ``LESS`` points or less against the widest on held-out images.

    ``on``: "top1" for the test images, which then choose as well as judge.
    """
    least = next(row[on] for row in reversed(rows) if row["kind"] == "uniform") - LESS
    fit = [row for row in rows if row[on] >= least - 1e-9 and row["kind"] != STOPS]
    return min((row for row in fit if kind in ("", row["kind"])), key=lambda row: row["time"], default={})


def beside_cascade(rows: list[dict[str, Any]], budget: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """The cascade for a budget, and the controller that is best on held-out images in ``PART`` of its time."""
    (cascade,) = (row for row in rows if row["kind"] == "cascade" and row["label"].startswith(f"{100 * budget:g} %"))
    fast = [row for row in rows if row["kind"] == "controller" and row["time"] <= PART * cascade["time"]]
    return cascade, max(fast, key=lambda row: (row["held_out"], -row["time"]), default={})


def checks(results: dict[str, Any], isa: str | None) -> Iterator[Check]:
    """Every program beside its targets."""
    for name, rows in results.items():
        (stopped,) = (row for row in rows if row["kind"] == STOPS)
        narrow = min((row for row in rows if row["kind"] == "uniform"), key=lambda row: row["share"])
        part = round(stopped["ms"] / narrow["ms"] - 1, 4)
        yield Check(f"{name}: the controller's own time, of a run at the least width", part, "<=", CONTROL)
        cascade, own = beside_cascade(rows, AT)
        what = f"{name}: points over the cascade for {100 * AT:g} % of the BitOPs, in {PART:g} of its time"
        yield Check(what, round(own.get("top1", 0.0) - cascade["top1"], 3), ">=", 0.0)
        if name != SHIPPED:
            words = f"{name}: time at the accuracy of 8 bits less {LESS:g}, over that of 8 bits, chosen on"
            for which, on in (("held-out", "held_out"), ("test", "top1")):
                yield Check(f"{words} {which} images", fastest(rows, on=on)["time"], "<=", FASTEST[isa or ""])


def main() -> None:
    """Measure what is named, print, write; the record keeps the others."""
    options = named_parser(__doc__)
    options.add_argument("--isa", choices=[each for each in FASTEST if each], help="a kernel set by name")
    options.add_argument("--batch", type=int, default=BATCH, help=f"images in a call (default {BATCH})")
    options.add_argument("--folder", type=Path, default=Path("runs/controller_times"), help="keeps the points")
    options.add_argument("--prepare", action="store_true", help="make the points, which needs no quiet core, and stop")
    arguments = options.parse_args()
    splits, _ = images_of(arguments)
    points = {name: kept(arguments.folder, name, program, splits) for name, program in programs_of(arguments)}
    if arguments.prepare:
        return
    name = "controller_times" + (f"_{arguments.isa}" if arguments.isa else "")
    name += f"_batch{arguments.batch}" if arguments.batch != BATCH else ""
    results = results_in(place_of(name, machine()))
    x = splits.test.inputs(slice(IMAGES)).numpy()
    for each, found in points.items():
        results[each] = timed(found, x, arguments.batch, arguments.isa)
    settings = {"images": IMAGES, "batch": arguments.batch, "rounds": ROUNDS, "isa": arguments.isa}
    write(name, settings=settings, results=results, checks=list(checks(results, arguments.isa)))


if __name__ == "__main__":
    main()
