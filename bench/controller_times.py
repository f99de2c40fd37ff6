"""The time of late controllers beside uniform widths and cascades, in turns: how fast is the accuracy of 8 bits?

For each program: every uniform width, and for each of several budgets the cascade and the controller of
:mod:`bench.controller` that learned from the held-out images. A controller that lets every image stop shows what the
choice itself takes. Needs a quiet core; ``--isa`` names a kernel set and writes another record.

    python -m bench.controller_times --data DIR wide=wide.dqt [--isa avx2]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch

from bench.common import Check, machine, place_of, write
from bench.controller import Subject
from bench.named import SHIPPED, images_of, named_parser, programs_of, results_in
from dqt.arith.plan import AUTO
from dqt.nn.controller import LOGITS
from dqt.program.evaluate import evaluate
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import pinned
from dqt.train.data import Splits

BUDGETS = (0.085, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4)
IMAGES, BATCH, ROUNDS = 2048, 32, 5
LESS, STOPS, CONTROL = 0.1, "all stop", 0.03
FASTEST = {"": 0.8, "avx2": 0.65}
"""By kernel set: time at the accuracy of 8 bits less ``LESS`` points, over that of 8 bits."""


@dataclass(frozen=True, eq=False)
class Point:
    """A way to run the images: its accuracy on the held-out and the test images and its BitOPs, in percent."""

    kind: str
    label: str
    held_out: float
    top1: float
    share: float
    call: Callable[[Any], Any]

    def milliseconds(self, x: Any) -> float:
        """Of this thread on the processor, for an image."""
        self.call(x[:BATCH])
        start = time.thread_time()
        for first in range(0, len(x), BATCH):
            self.call(x[first : first + BATCH])
        return 1e3 * (time.thread_time() - start) / len(x)


class Points:
    """All points of one program on one kernel set."""

    def __init__(self, name: str, program: Program, splits: Splits, isa: str | None) -> None:
        assert splits.valid is not None
        self.subject, self.splits, self.isa = Subject(name, program), splits, isa
        self.held, self.tested = self.subject.answers(splits.valid), self.subject.answers(splits.test)
        self.run = Runtime(program, threads=1, isa=isa)

    def all(self) -> Iterator[Point]:
        """In the order in which they are timed."""
        network = self.subject.network
        held, tested = self.held.outcome, self.tested.outcome
        for i, b in enumerate(network.widths):
            share = 100 * network.shares[i]
            yield Point("uniform", f"{b} bits", held.top1[i], tested.top1[i], share, partial(self.run, plan=b))
        for budget in (each for each in BUDGETS if each > network.shares[0]):
            cascade = network.calibrated(held, budget)
            told, found = (network.judged(each, cascade) for each in (held, tested))
            label = " then ".join(map(str, cascade.widths))
            call = partial(self.run, plan=cascade)
            yield Point("cascade", label, told["top1"], found["top1"], found["share"], call)
            yield self._controller("controller", f"{100 * budget:g} %", budget)
        yield self._controller(STOPS, STOPS, BUDGETS[3], stops=True)

    def _controller(self, kind: str, label: str, budget: float, *, stops: bool = False) -> Point:
        net = self.subject.taught(self.held, budget, 0)
        if stops:
            bias = net.layer(LOGITS).bias
            assert bias is not None
            with torch.no_grad():
                bias[1:] -= bias.abs().max() + 1e3
        program = self.subject.attached(net)
        run = Runtime(program, threads=1, isa=self.isa)
        told, found = (
            evaluate(program, data.inputs().numpy(), AUTO, engine=run.execute)
            for data in (self.splits.valid, self.splits.test)
            if data is not None
        )
        right = (100 * told.accuracy(self.held.labels), 100 * found.accuracy(self.tested.labels))
        return Point(kind, label, *right, 100 * found.share, partial(run, plan=AUTO))


def timed(points: list[Point], x: Any) -> list[dict[str, Any]]:
    """A row for each point, with its median time over that of the widest uniform width."""
    with pinned(1):
        rounds = [[point.milliseconds(x) for point in points] for _ in range(ROUNDS)]
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


def checks(results: dict[str, Any], isa: str | None) -> Iterator[Check]:
    """Every program beside its targets."""
    for name, rows in results.items():
        (stopped,) = (row for row in rows if row["kind"] == STOPS)
        narrow = min((row for row in rows if row["kind"] == "uniform"), key=lambda row: row["share"])
        part = round(stopped["ms"] / narrow["ms"] - 1, 4)
        yield Check(f"{name}: the controller's own time, of a run at the least width", part, "<=", CONTROL)
        if name != SHIPPED:
            words = f"{name}: time at the accuracy of 8 bits less {LESS:g}, over that of 8 bits, chosen on"
            for which, on in (("held-out", "held_out"), ("test", "top1")):
                yield Check(f"{words} {which} images", fastest(rows, on=on)["time"], "<=", FASTEST[isa or ""])


def main() -> None:
    """Measure what is named, print, write; the record keeps the others."""
    options = named_parser(__doc__)
    options.add_argument("--isa", choices=[each for each in FASTEST if each], help="a kernel set by name")
    arguments = options.parse_args()
    splits, _ = images_of(arguments)
    name = "controller_times" + (f"_{arguments.isa}" if arguments.isa else "")
    results = results_in(place_of(name, machine()))
    x = splits.test.inputs(slice(IMAGES)).numpy()
    for each, program in programs_of(arguments):
        results[each] = timed(list(Points(each, program, splits, arguments.isa).all()), x)
    settings = {"images": IMAGES, "batch": BATCH, "rounds": ROUNDS, "isa": arguments.isa}
    write(name, settings=settings, results=results, checks=list(checks(results, arguments.isa)))


if __name__ == "__main__":
    main()
