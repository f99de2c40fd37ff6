"""A network trained with a late decision in view, beside the same network without it.

Runs of :mod:`bench.evidence`: ``wide``, and from where it ended an epoch more, as before (``wide-longer``) and with a
second classifier and a controller inside (``wide-joint``). Of each: what heads know at a decision inside of the network
(:mod:`bench.late`), and the controller that runs again, beside the best cascade (:mod:`bench.controller`). Of the joint
run also its own controller, in integers, beside its own choices dealt to other images.

    python -m bench.joint --data DIR [--runs runs/evidence] [NAME ...]      the record keeps those that are not named
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import dqt
from bench import controller, late
from bench.common import RESULTS, Check, parser, write
from bench.controller import Subject
from bench.evidence import training
from bench.evidence.joint import MAIN
from bench.late import AT_BITS, LOGITS, SECOND, SEEDS, Answers, Design
from bench.named import images_of, results_in
from dqt.arith.plan import AUTO
from dqt.nn.net import Net
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.train.build import rebuild
from dqt.train.checkpoint import BEST
from dqt.train.data import Splits
from dqt.train.models import wide_cnn

RUNS = ("wide", "wide-longer", "wide-joint")
STAGES = {"layer1": "layer1.1.add"}
CHOICES = (2, 3, 4, 8)
INSIDE = {
    "by features": Design(3, "layer1", ("layer1",), CHOICES),
    "by the second classifier": Design(3, "layer1", (SECOND,), CHOICES),
    "by both": Design(3, "layer1", ("layer1", SECOND), CHOICES),
}
"""Decisions behind layer1, which ran at 3 bits, on the width of layer2."""
BUDGETS = (3.0,)
OWN = "the controller that trained with it"


def alone(net: Net) -> Program:
    """The network without a second classifier and a controller, as a program of one output."""
    config = net.config.model_copy(update={"controller": None})
    plain = dqt.prepare(wide_cnn().eval(), torch.zeros(2, 3, 32, 32), config)
    state = net.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    return dqt.lower(plain)


def inside(net: Net, program: Program, splits: Splits) -> dict[str, Any]:
    """What heads know at decisions inside of the network, and of a controller that trained with it its own choices."""
    test = splits.test
    whole = dqt.lower(net)
    two = len(whole.outputs) > 1
    answers = Answers(whole if two else program, test.inputs().numpy(), STAGES, MAIN if two else LOGITS)
    labels = test.labels.numpy()
    found: dict[str, Any] = {}
    for name, design in INSIDE.items():
        if two or SECOND not in design.reads:
            found[name] = late.row(answers, design, labels)
            print(f"{name}: {found[name]}", flush=True)
    if two:
        found[OWN] = own(whole, answers, INSIDE["by features"], labels)
        print(f"{OWN}: {found[OWN]}", flush=True)
        found["second classifier"] = _percent(second_right(whole, answers.inputs, labels))
    return found


def own(program: Program, answers: Answers, design: Design, labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The controller inside, in integers: top-1 and BitOPs in percent, and the same choices dealt to other images."""
    run, x = Runtime(program, threads=1), answers.inputs
    parts = [run.execute(x[first : first + late.BATCH], AUTO) for first in range(0, len(x), late.BATCH)]
    answered = np.concatenate([part.codes[MAIN].argmax(1) for part in parts])
    assert program.choose is not None
    column = program.layers.index(program.choose.layers[0])
    chosen = np.searchsorted(design.choices, np.concatenate([part.widths[:, column] for part in parts]))
    made = late.table(answers, design, labels)
    rng, every = np.random.default_rng(0), np.arange(len(labels))
    dealt = [made.right[every, rng.permutation(chosen)].mean() for _ in range(late.DEALS)]
    share = float(made.costs[chosen].mean())
    return {
        "own": _percent(float((answered == labels).mean())),
        "dealt": _percent(mean(map(float, dealt))),
        "share": _percent(share),
        "uniform": round(late.uniform_at(answers, share, labels), 3),
        "chosen": {str(b): int((chosen == i).sum()) for i, b in enumerate(design.choices)},
    }


def second_right(program: Program, x: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """How often the second classifier is right at ``AT_BITS``."""
    run = Runtime(program, threads=1)
    parts = [run.codes(x[i : i + late.BATCH], AT_BITS)[SECOND].argmax(1) for i in range(0, len(x), late.BATCH)]
    return float((np.concatenate(parts) == labels).mean())


def _percent(part: float) -> float:
    return round(100 * part, 4)


def measured(name: str, arguments: argparse.Namespace, splits: Splits) -> dict[str, Any]:
    """All that is said of one run."""
    assert splits.valid is not None
    where = training.place(name, None, arguments.data, arguments.weights, None, arguments.runs)
    net, held = rebuild(where.folder / BEST)
    program = alone(net)
    controller.MODELS[name] = wide_cnn
    subject = Subject(name, program)
    return {
        "epoch": held.epoch,
        "widths": subject.network.widths,
        "inside": inside(net, program, splits),
        "again": controller.measured(subject, splits.test, splits.valid, BUDGETS),
    }


def checks(results: dict[str, Any]) -> Iterator[Check]:
    """What the joint training gains over the other one, and what each decision gains over the same choices dealt."""
    for name, found in results.items():
        for label, row in found["inside"].items():
            if isinstance(row, dict):
                gain = round(_mean(row["own"]) - _mean(row["dealt"]), 3)
                yield Check(f"{name}, {label}: points over the same choices dealt", gain, ">=", controller.GAIN)
        for row in (row for row in found["again"]["rows"] if row["bits"] == AT_BITS):
            what = f"{name}, runs again, taught by {row['learned']}"
            over = {key: round(mean(row["own"]) - mean(row[key]), 3) for key in ("uniform", "cascade")}
            yield Check(f"{what}: points over uniform widths", over["uniform"], ">=", controller.GAIN)
            yield Check(f"{what}: points over the cascade", over["cascade"], ">=", controller.OVER_CASCADE)


def _mean(value: float | list[float]) -> float:
    return mean(value) if isinstance(value, list) else value


def main() -> None:
    """Measure what has not been measured, print, write."""
    options = parser(__doc__, data=True)
    options.add_argument("names", nargs="*", metavar="NAME", default=RUNS, help=f"default: {' '.join(RUNS)}")
    options.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="holds the folders of the runs")
    arguments = options.parse_args()
    splits, _ = images_of(arguments)
    results = results_in(RESULTS / "joint.json")
    for name in arguments.names:
        results[name] = measured(name, arguments, splits)
        settings = {"seeds": SEEDS, "images": len(splits.test)}
        write("joint", settings=settings, results=results, checks=list(checks(results)))


if __name__ == "__main__":
    main()
