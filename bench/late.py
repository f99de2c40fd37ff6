"""What features inside a network know of the bits that an image needs: late decisions, measured before one is built.

The shipped network runs every test image at uniform widths, and with its first stages at few bits and the rest at each
width. A small head is trained to say, from what the first stages give, how much less every choice would lose; it learns
from one half of the test images and is judged on the other, both ways, because the network has seen all training images
and is right about nearly all of them. So a head knows here what honest examples can teach it: a controller that learns
from training images knows no more.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

import dqt
from bench.common import CIFAR10, Check, parser, write
from dqt.arith.plan import Plan
from dqt.program.ops.dequantize import Dequantize
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.train.data import load

Floats = npt.NDArray[np.float64]
STAGES = {"layer1": "layer1.2.add_2", "layer2": "layer2.2.add_5"}
"""Stage -> the value that its last block gives."""
LOGITS, SECOND, BATCH, SEEDS, DEALS, WORST = "output", "second", 250, (0, 1, 2), 50, 5.0
HIDDEN, DECAY = 32, 1.0
TARGET, AT_BITS = 0.5, 3
"""Points over the same choices dealt at random that late decisions should gain, at the BitOPs of so many bits."""


@dataclass(frozen=True)
class Design:
    """Where a decision stands and what it may read.

    Attributes:
        trunk: width of what runs before the decision.
        after: the last stage before it; "": the decision follows a whole run, and a choice above ``trunk`` runs again.
        reads: stages whose features it reads; ``LOGITS``: the outputs of the run, largest first; ``SECOND``: those of a
            classifier inside of the network, likewise.
        choices: widths of what runs after it.
    """

    trunk: int
    after: str
    reads: tuple[str, ...]
    choices: tuple[int, ...]


DESIGNS = {
    "after layer1": Design(3, "layer1", ("layer1",), (2, 3, 4, 8)),
    "after layer2": Design(3, "layer2", ("layer1", "layer2"), (2, 3, 4, 8)),
    "again, by features": Design(2, "", ("layer1", "layer2"), (2, 3, 4, 8)),
    "again, by outputs": Design(2, "", (LOGITS,), (2, 3, 4, 8)),
    "again, by both": Design(2, "", ("layer1", "layer2", LOGITS), (2, 3, 4, 8)),
}


@dataclass(frozen=True)
class Answer:
    """All images under one plan: ``outputs`` float ``[N, classes]``; BitOPs; name -> what heads may read ``[N, F]``."""

    outputs: Floats
    share: float
    features: dict[str, Floats]


class Answers:
    """The network's answers by plan, each computed once.

    Args:
        stages: name -> the value that it gives.   main: the output that says the class.
    """

    def __init__(
        self,
        program: Program,
        inputs: npt.NDArray[np.float32],
        stages: Mapping[str, str] = STAGES,
        main: str = LOGITS,
    ) -> None:
        self.program, self.inputs, self.stages, self.main = program, inputs, tuple(stages), main
        more = tuple(Dequantize(value, stage) for stage, value in stages.items())
        self.engine = Runtime(replace(program, ops=program.ops + more))
        self.known: dict[tuple[int, int, str], Answer] = {}

    def of(self, trunk: int, width: int, after: str) -> Answer:
        """With what comes up to stage ``after`` at ``trunk`` bits and the rest at ``width``."""
        key = (trunk, width, after if trunk != width else "")
        if key not in self.known:
            self.known[key] = self._run(self._plan(trunk, width, after))
        return self.known[key]

    def _plan(self, trunk: int, width: int, after: str) -> Plan:
        first = self.stages[: self.stages.index(after) + 1] if after else ()
        space = self.program.space
        own = {name: trunk if name.split(".")[0] in first else width for name in space.chosen}
        ends = {layer.name: space.edge_width for layer in space.layers if layer.edge}
        return Plan.of({name: (own | ends)[name] for name in space.names})

    def _run(self, plan: Plan) -> Answer:
        made: list[dict[str, Floats]] = []
        for first in track(range(0, len(self.inputs), BATCH), "running", transient=True):
            found = self.engine(self.inputs[first : first + BATCH], plan)
            made.append({name: values if values.ndim == 2 else _pooled(values) for name, values in found.items()})
        joined = {name: np.concatenate([each[name] for each in made]).astype(np.float64) for name in made[0]}
        outputs = joined.pop(self.main)
        ordered = {SECOND: -np.sort(-joined[SECOND], 1)} if SECOND in joined else {}
        return Answer(outputs, dqt.cost(self.program, plan).share, joined | ordered)


def _pooled(values: npt.NDArray[np.float32]) -> Floats:
    """Means over a 2x2 grid, deviation and largest value of each channel: ``[N, C, H, W]`` -> ``[N, 6 C]``."""
    n, c, h, w = values.shape
    grid = values.reshape(n, c, 2, h // 2, 2, w // 2).mean((3, 5)).reshape(n, -1)
    flat = values.reshape(n, c, -1)
    return np.concatenate([grid, flat.std(-1), flat.max(-1)], 1)


@dataclass(frozen=True)
class Table:
    """A design's choices for every image: ``right``, ``gains`` (loss less than the first choice's) ``[N, choices]``."""

    features: Floats
    right: Floats
    gains: Floats
    costs: Floats


def table(answers: Answers, design: Design, labels: npt.NDArray[np.int64]) -> Table:
    """What each choice costs and gives, and what the head may read."""
    made = [answers.of(design.trunk if design.after else width, width, design.after) for width in design.choices]
    before = answers.of(design.trunk, design.trunk, "")
    again = 0.0 if design.after else before.share
    costs = [
        each.share + (0.0 if width == design.trunk else again) for each, width in zip(made, design.choices, strict=True)
    ]
    losses = np.stack([_loss(each.outputs, labels) for each in made], 1)
    right = np.stack([each.outputs.argmax(1) == labels for each in made], 1).astype(np.float64)
    read = before.features | {LOGITS: -np.sort(-before.outputs, 1)}
    return Table(
        np.concatenate([read[name] for name in design.reads], 1), right, losses[:, :1] - losses, np.array(costs)
    )


def _loss(outputs: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    lost: Floats = -log_softmax(outputs, 1)[np.arange(len(labels)), labels]
    return lost.clip(max=WORST)


def judge(made: Table, budget: float, seed: int) -> dict[str, float]:
    """Top-1 in percent of a head's choices, and of the same dealt to other images; both halves judged by the other."""
    rng = np.random.default_rng(seed)
    halves = np.array_split(rng.permutation(len(made.right)), 2)
    parts = []
    for learned, judged in (halves, halves[::-1]):
        predict = head(made.features[learned], made.gains[learned], seed)
        price = price_of(predict(made.features[learned]), made.costs, budget)
        chosen = choices(predict(made.features[judged]), made.costs, price)
        right = made.right[judged]
        dealt = [right[np.arange(len(right)), rng.permutation(chosen)].mean() for _ in range(DEALS)]
        own = right[np.arange(len(right)), chosen].mean()
        parts.append({"own": 100 * own, "dealt": 100 * mean(dealt), "share": made.costs[chosen].mean()})
    return {key: float(mean(part[key] for part in parts)) for key in parts[0]}


def head(features: Floats, gains: Floats, seed: int) -> Any:
    """A function from features to expected gains, trained with an early stop on a tenth of the images."""
    scaler = StandardScaler().fit(features)
    network = MLPRegressor(
        hidden_layer_sizes=(HIDDEN,),
        alpha=DECAY,
        early_stopping=True,
        n_iter_no_change=10,
        max_iter=200,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(scaler.transform(features), gains)
    return lambda x: network.predict(scaler.transform(x))


def choices(gains: Floats, costs: Floats, price: float) -> npt.NDArray[np.intp]:
    """What each image chooses where BitOPs have a price."""
    return (gains - price * costs).argmax(1)


def price_of(gains: Floats, costs: Floats, budget: float) -> float:
    """The price at which the mean cost is the budget, by bisection."""
    low, high = 0.0, 1e3
    for _ in range(60):
        price = (low + high) / 2
        over = costs[choices(gains, costs, price)].mean() > budget
        low, high = (price, high) if over else (low, price)
    return high


def row(answers: Answers, design: Design, labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """All that is said of one design."""
    made = table(answers, design, labels)
    budget = answers.of(AT_BITS, AT_BITS, "").share
    found = [judge(made, budget, seed) for seed in SEEDS]
    return {
        "choices": design.choices,
        "costs": [round(cost, 4) for cost in made.costs.tolist()],
        "top1": [round(100 * value, 2) for value in made.right.mean(0).tolist()],
        "oracle": round(100 * float(made.right.max(1).mean()), 2),
        "uniform": [round(uniform_at(answers, each["share"], labels), 3) for each in found],
        **{key: [round(each[key], 4) for each in found] for key in found[0]},
    }


def uniform_at(answers: Answers, share: float, labels: npt.NDArray[np.int64]) -> float:
    """Top-1 in percent on the line between the two uniform widths around a share of BitOPs."""
    uniform = [answers.of(b, b, "") for b in answers.program.space.widths]
    right = [100 * float((each.outputs.argmax(1) == labels).mean()) for each in uniform]
    return float(np.interp(share, [each.share for each in uniform], right))


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, data=True).parse_args()
    test = load(f"cifar10={arguments.data / CIFAR10}").test
    program = dqt.Program.load(dqt.example())
    answers, labels = Answers(program, test.inputs().numpy()), test.labels.numpy()
    rows = {}
    for name, design in DESIGNS.items():
        rows[name] = row(answers, design, labels)
        print(f"{name}: {rows[name]}", flush=True)
    checks = [
        Check(f"{name}: points over the same choices dealt to other images", _gain(each), ">=", TARGET)
        for name, each in rows.items()
    ]
    write("late", settings={"seeds": SEEDS, "hidden": HIDDEN, "images": len(labels)}, results=rows, checks=checks)


def _gain(each: dict[str, Any]) -> float:
    return round(mean(each["own"]) - mean(each["dealt"]), 3)


if __name__ == "__main__":
    main()
