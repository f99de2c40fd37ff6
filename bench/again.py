"""Whether to run again and at how many bits, decided behind a run at 2 bits: heads by margins beside cascades.

A controller with ``rerun=True`` reads how far the other outputs of a 2-bit run lie below the largest, and lets an image
stop or run again at another width. Here heads of three kinds are taught that on one half of the test images and judged
on the other, both ways, and cascades are calibrated on the same halves for the same budget. The network's answers are
the engine's integers at each uniform width; heads are in floats, each one of several that a controller may be.

The answers are kept in a folder (``--answers``), one file for each width, so that an interrupted run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

import dqt
from bench.common import CIFAR10, Check, parser, write
from bench.late import AT_BITS, DEALS, SEEDS, WORST, choices, head, price_of
from dqt.program.cascade import Trials, best_thresholds
from dqt.program.evaluate import output_value
from dqt.program.program import Program
from dqt.train.data import load

Floats = npt.NDArray[np.float64]
Half = npt.NDArray[np.int64]
WIDTHS, FIRST, BATCH = (2, 3, 4, 6, 8), 2, 250
CASCADES = ((2, 4), (2, 4, 6), (2, 4, 8))
UNITS, EPOCHS, ROWS, RATE, HOT, COLD, PENALTY = 32, 60, 512, 0.01, 2.0, 0.2, 3.0
"""Of a softened choice: its temperature falls from HOT to COLD."""
TARGET, OVER_CASCADE, WITHIN = 0.5, 0.1, 0.05
"""Points over the same choices dealt to other images and over uniform widths, and over the best cascade; how far the
BitOPs may be off those asked for."""


@dataclass(frozen=True, eq=False)
class Task:
    """What the choices cost, relative BitOPs, and what they may cost in the mean."""

    costs: Floats
    budget: float


def odds(features: Floats, right: Floats, seed: int) -> Any:
    """A function from features to the chance that each choice is right."""
    scaler = StandardScaler().fit(features)
    each = [LogisticRegression(random_state=seed).fit(scaler.transform(features), column) for column in right.T]
    return lambda x: np.stack([one.predict_proba(scaler.transform(x))[:, 1] for one in each], 1)


def softened(features: Floats, gains: Floats, seed: int, task: Task) -> Any:
    """A function from features to scores that learned the mean gain of a softened choice, and a penalty on its cost."""
    torch.manual_seed(seed)
    scaler = StandardScaler().fit(features)
    x, gain, costs = (torch.from_numpy(each).float() for each in (scaler.transform(features), gains, task.costs))
    network = nn.Sequential(
        nn.Linear(x.shape[1], UNITS), nn.BatchNorm1d(UNITS), nn.ReLU(), nn.Linear(UNITS, len(costs))
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=RATE)
    steps = EPOCHS * (len(x) // ROWS)
    for step in range(steps):
        mine = torch.randint(len(x), (ROWS,))
        soft = (network(x[mine]) / (HOT * (COLD / HOT) ** (step / steps))).softmax(1)
        over = (soft @ costs).mean() / task.budget - 1
        optimizer.zero_grad()
        torch.autograd.backward(PENALTY * over.square() - (soft * gain[mine]).sum(1).mean())
        optimizer.step()
    network.eval()
    return lambda x: network(torch.from_numpy(scaler.transform(x)).float()).detach().double().numpy()


HEADS: dict[str, tuple[Callable[..., Any], bool, int]] = {
    "softened choice, by all margins": (softened, True, 9),
    "softened choice, by the margin": (softened, True, 1),
    "less loss, by all margins": (head, True, 9),
    "less loss, by the margin": (head, True, 1),
    "odds, by all margins": (odds, False, 9),
    "odds, by the margin": (odds, False, 1),
}
"""Name -> how it learns, whether from losses or from who is right, and how many margins it reads."""


class Answers:
    """The shipped network at each uniform width: ``outputs`` float64 ``[widths, N, classes]``, in integers."""

    def __init__(self, program: Program, data: Path, kept: Path | None) -> None:
        test = load(f"cifar10={data / CIFAR10}").test
        self.labels: npt.NDArray[np.int64] = test.labels.numpy()
        self.share = [dqt.cost(program, b).share for b in WIDTHS]
        run, x = dqt.Runtime(program), test.inputs().numpy()
        self.outputs = np.stack([_kept(kept, b, run, x) for b in WIDTHS]).astype(np.float64)
        self.scale = output_value(program).scale
        self.right = (self.outputs.argmax(2) == self.labels).astype(np.float64)

    @property
    def budget(self) -> float:
        """Relative BitOPs of uniform ``AT_BITS``."""
        return self.share[WIDTHS.index(AT_BITS)]


def _kept(folder: Path | None, b: int, run: dqt.Runtime, x: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    path = None if folder is None else folder / f"q{b}.npy"
    if path is not None and path.exists():
        held: npt.NDArray[np.int32] = np.load(path)
        return held
    parts = [run.codes(x[i : i + BATCH], b) for i in track(range(0, len(x), BATCH), f"{b} bits", transient=True)]
    made = np.concatenate(parts)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, made)
    return made


def halves(count: int, seed: int) -> list[tuple[Half, Half]]:
    """Two halves at random: the one to learn from and the one to judge, both ways."""
    one, other = np.array_split(np.random.default_rng(seed).permutation(count), 2)
    return [(one, other), (other, one)]


def judged(answers: Answers, name: str, seed: int) -> dict[str, float]:
    """A head's choices: top-1 in percent, the same dealt to other images, relative BitOPs, runs of an image."""
    learn, by_loss, count = HEADS[name]
    top = -np.sort(-answers.outputs[0] * answers.scale, 1)
    margins, right = (top[:, :1] - top[:, 1:])[:, :count], answers.right.T
    taught = gains(answers) if by_loss else right
    costs = np.array([answers.share[0]] + [answers.share[0] + share for share in answers.share[1:]])
    more = {"task": Task(costs, answers.budget)} if learn is softened else {}
    rng, parts = np.random.default_rng(seed), []
    for one, other in halves(len(right), seed):
        predict = learn(margins[one], taught[one], seed, **more)
        chosen = choices(predict(margins[other]), costs, price_of(predict(margins[one]), costs, answers.budget))
        mine, rows = right[other], np.arange(len(other))
        dealt = mean(float(mine[rows, rng.permutation(chosen)].mean()) for _ in range(DEALS))
        parts.append((100 * mine[rows, chosen].mean(), 100 * dealt, costs[chosen].mean(), 1 + (chosen > 0).mean()))
    own, dealt, share, runs = (float(each) for each in np.mean(parts, 0))
    return {"own": own, "dealt": dealt, "share": share, "runs": runs, "uniform": uniform_at(answers, share)}


def gains(answers: Answers) -> Floats:
    """How much less each choice loses than to stop, ``[N, widths]``."""
    logs = log_softmax(answers.outputs * answers.scale, 2)
    losses = -logs[:, np.arange(len(answers.labels)), answers.labels].clip(min=-WORST).T
    less: Floats = losses[:, :1] - losses
    return less


def cascade(answers: Answers, widths: tuple[int, ...], seed: int) -> dict[str, float]:
    """A cascade: as :func:`judged`."""
    places = [WIDTHS.index(b) for b in widths]
    top = np.sort(answers.outputs[places].astype(np.int64), 2)
    margin, good = (top[..., -1] - top[..., -2])[:-1], answers.right[places]
    share, parts = np.cumsum([answers.share[i] for i in places]), []
    for one, other in halves(len(answers.labels), seed):
        thresholds = best_thresholds(Trials(margin[:, one], good[:, one], share), answers.budget)
        own, spent = Trials(margin[:, other], good[:, other], share).score(thresholds)
        _, runs = Trials(margin[:, other], good[:, other], np.arange(1.0, 1 + len(places))).score(thresholds)
        parts.append((100 * own, spent, runs))
    own, spent, runs = (float(each) for each in np.mean(parts, 0))
    return {"own": own, "share": spent, "runs": runs, "uniform": uniform_at(answers, spent)}


def uniform_at(answers: Answers, share: float) -> float:
    """Top-1 in percent on the line between the two uniform widths around a share of BitOPs."""
    return float(np.interp(share, answers.share, 100 * answers.right.mean(1)))


def together(answers: Answers) -> dict[str, float]:
    """What the widths know between them, top-1 in percent: of the sum of their outputs, and of whoever is right."""
    summed = answers.outputs.sum(0).argmax(1) == answers.labels
    return {"summed": 100 * float(summed.mean()), "oracle": 100 * float(answers.right.max(0).mean())}


def _over_seeds(found: list[dict[str, float]]) -> dict[str, list[float]]:
    return {key: [round(each[key], 4) for each in found] for key in found[0]}


def checks(heads: dict[str, Any], cascades: dict[str, Any], budget: float) -> Iterator[Check]:
    """Every head beside its targets."""
    best = max(mean(each["own"]) for each in cascades.values())
    for name, each in heads.items():
        own, off = mean(each["own"]), abs(mean(each["share"]) / budget - 1)
        yield Check(f"{name}: points over the same choices dealt", round(own - mean(each["dealt"]), 3), ">=", TARGET)
        yield Check(f"{name}: points over uniform widths", round(own - mean(each["uniform"]), 3), ">=", TARGET)
        yield Check(f"{name}: points over the best cascade", round(own - best, 3), ">=", OVER_CASCADE)
        yield Check(f"{name}: BitOPs off those asked for by", round(off, 4), "<=", WITHIN)


def main() -> None:
    """Measure, print, write."""
    arguments = parser(__doc__, data=True)
    arguments.add_argument("--answers", type=Path, help="folder that keeps the network's answers by width")
    given = arguments.parse_args()
    answers = Answers(dqt.Program.load(dqt.example()), given.data, given.answers)
    heads = {name: _over_seeds([judged(answers, name, seed) for seed in SEEDS]) for name in HEADS}
    cascades = {
        " then ".join(map(str, widths)): _over_seeds([cascade(answers, widths, seed) for seed in SEEDS])
        for widths in CASCADES
    }
    results = {
        "top1": {str(b): round(100 * float(right.mean()), 2) for b, right in zip(WIDTHS, answers.right, strict=True)},
        "together": {key: round(value, 2) for key, value in together(answers).items()},
        "heads": heads,
        "cascades": cascades,
    }
    settings = {"seeds": SEEDS, "images": len(answers.labels), "budget": round(answers.budget, 4)}
    write("again", settings=settings, results=results, checks=list(checks(heads, cascades, answers.budget)))


if __name__ == "__main__":
    main()
