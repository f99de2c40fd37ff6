"""Corrupted images: what the choice of widths by image gains where few and many bits lie further apart.

Test images of CIFAR-10 get noise, blur or less contrast, each at three strengths. A network runs all of them at every
uniform width; cascades and the oracle follow from these integers. The margins of a cascade are calibrated on the 5,000
held-out images, once as they are and once with the corruptions dealt among them.

    python -m bench.robust --data DIR                    the network that ships
    python -m bench.robust --data DIR wide=wide.dqt      another program; the record keeps those that are not named
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from torch import Tensor

import dqt
from bench.common import RESULTS, Check, write
from bench.named import HELD_OUT, images_of, named_parser, programs_of, results_in
from dqt.program.cascade import Trials, best_thresholds
from dqt.program.interpret import margins
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.testing.zoo import torchvision
from dqt.train.data import DataSet

CLEAN = "none"
STRENGTHS = {"noise": (0.04, 0.08, 0.12), "blur": (0.6, 0.9, 1.2), "contrast": (0.5, 0.3, 0.2)}
"""Standard deviation of the noise, of pixels in [0, 1]; of the blur, in pixels; and the factor of contrast."""
SETS = ((CLEAN, 0.0), *((kind, each) for kind, strengths in STRENGTHS.items() for each in strengths))
BLUR_WINDOW, BATCH, SEED = 7, 250, 0
CASCADES = (2, 3, 4, 6, 8)
"""Widths that cascades of two or three are made of."""
BUDGETS, AT_BITS, TARGET = (2.5, 3.0, 4.0), 3.0, 1.5
"""Budgets are the BitOPs of uniform widths; at AT_BITS the choice should gain TARGET points over uniform widths."""


def corrupted(images: Tensor, kind: str, strength: float, seed: int) -> Tensor:
    """Images uint8 ``[N, C, H, W]`` with one corruption by torchvision's transforms; ``seed``: of the noise."""
    torchvision()  # declares what a build for another torch lacks
    transforms = importlib.import_module("torchvision.transforms.v2.functional")
    changed = images
    if kind == "blur":
        changed = transforms.gaussian_blur(images, [BLUR_WINDOW, BLUR_WINDOW], [strength, strength])
    elif kind == "contrast":
        changed = transforms.adjust_contrast(images, strength)
    elif kind == "noise":
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            noisy = transforms.gaussian_noise(images.float() / 255, 0.0, strength, True)
        changed = (255 * noisy).round().to(torch.uint8)
    return changed


def dealt(images: Tensor) -> Tensor:
    """Every image with one of the corruptions, in turn."""
    made = images.clone()
    for i, (kind, strength) in enumerate(SETS[1:]):
        mine = slice(i, None, len(SETS) - 1)
        made[mine] = corrupted(images[mine], kind, strength, SEED)
    return made


@dataclass(frozen=True, eq=False)
class Outcome:
    """Images at every width of a program: bool ``right`` and the integer ``margin`` of the outputs, ``[widths, N]``."""

    right: npt.NDArray[np.bool_]
    margin: npt.NDArray[np.int64]

    @property
    def top1(self) -> list[float]:
        """In percent, by width."""
        return [round(100 * float(value), 2) for value in self.right.mean(1)]

    @property
    def oracle(self) -> float:
        """The images that some width gets right, in percent."""
        return round(100 * float(self.right.any(0).mean()), 2)


def outcome_of(codes: Iterable[npt.NDArray[np.int32]], labels: npt.NDArray[np.int64]) -> Outcome:
    """Integer outputs by width, ``[N, classes]`` each, judged."""
    right, margin = zip(*((q.argmax(1) == labels, margins(q)) for q in codes), strict=True)
    return Outcome(np.stack(right), np.stack(margin))


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """The images of several sets as one."""
    return Outcome(np.concatenate([o.right for o in outcomes], 1), np.concatenate([o.margin for o in outcomes], 1))


class Network:
    """A program, its uniform widths, and their relative BitOPs."""

    def __init__(self, program: Program) -> None:
        self.run, self.widths = Runtime(program, threads=1), program.space.widths
        self.shares = [dqt.cost(program, b).share for b in self.widths]

    def codes(self, data: DataSet, images: Tensor) -> list[npt.NDArray[np.int32]]:
        """What ``images``, those of ``data`` or what became of them, give at every width: ``[N, classes]`` each."""
        x = data.normalize(images).numpy()
        return [
            np.concatenate([self.run.codes(x[first : first + BATCH], b) for first in range(0, len(x), BATCH)])
            for b in self.widths
        ]

    def outcome(self, data: DataSet, images: Tensor) -> Outcome:
        """The same, judged by the labels of ``data``."""
        return outcome_of(self.codes(data, images), data.labels.numpy())

    def trials(self, outcome: Outcome, widths: Sequence[int]) -> Trials:
        """The images at the widths of a cascade."""
        at = [self.widths.index(b) for b in widths]
        costs = np.cumsum([self.shares[i] for i in at])
        return Trials(outcome.margin[at[:-1]], outcome.right[at].astype(np.float64), costs)

    def calibrated(self, outcome: Outcome, budget: float) -> dqt.Cascade:
        """The cascade that does best on ``outcome`` within a budget of relative BitOPs."""
        found = []
        for widths in (*combinations(CASCADES, 2), *combinations(CASCADES, 3)):
            trials = self.trials(outcome, widths)
            if trials.share[0] <= budget:
                thresholds = best_thresholds(trials, budget)
                good, share = trials.score(thresholds)
                found.append((-good, share, widths, thresholds))
        _, _, widths, thresholds = min(found)
        return dqt.Cascade(widths, thresholds)

    def judged(self, outcome: Outcome, cascade: dqt.Cascade) -> dict[str, float]:
        """Of a cascade on ``outcome``, in percent: top-1, that of uniform widths at the same BitOPs, these BitOPs."""
        good, share = self.trials(outcome, cascade.widths).score(cascade.margins)
        there = float(np.interp(share, self.shares, outcome.right.mean(1)))
        return {"top1": round(100 * good, 3), "uniform": round(100 * there, 3), "share": round(100 * share, 3)}

    def budget(self, bits: float) -> float:
        """The relative BitOPs of a uniform width, on a straight line between two."""
        return float(np.interp(bits, self.widths, self.shares))


def measured(network: Network, data: DataSet, held_out: DataSet, advance: Callable[[], None]) -> dict[str, Any]:
    """All that is said of one network."""
    calibration, sets = {}, {}
    for label, images in (("clean", held_out.images), ("corrupted", dealt(held_out.images))):
        calibration[label] = network.outcome(held_out, images)
        advance()
    for i, (kind, strength) in enumerate(SETS):
        sets[named(kind, strength)] = network.outcome(data, corrupted(data.images, kind, strength, SEED + 1 + i))
        advance()
    sets["all corrupted"] = joined([each for label, each in sets.items() if label != CLEAN])
    return {
        "widths": network.widths,
        "shares": [round(100 * share, 3) for share in network.shares],
        "sets": {label: {"top1": each.top1, "oracle": each.oracle} for label, each in sets.items()},
        "cascades": [row for bits in BUDGETS for row in _cascades(network, bits, calibration, sets)],
    }


def _cascades(network: Network, bits: float, calibration: dict[str, Outcome], sets: dict[str, Outcome]) -> Any:
    budget = network.budget(bits)
    for label, held_out in calibration.items():
        cascade = network.calibrated(held_out, budget)
        yield {
            "bits": bits,
            "calibrated": label,
            "budget": round(100 * budget, 3),
            "widths": cascade.widths,
            "margins": cascade.margins,
            "sets": {name: network.judged(outcome, cascade) for name, outcome in sets.items()},
        }


def named(kind: str, strength: float) -> str:
    """Of a set."""
    return kind if kind == CLEAN else f"{kind} {strength:g}"


def gain(result: dict[str, Any], bits: float, calibrated: str, name: str = "all corrupted") -> float:
    """Points of a cascade over uniform widths at the BitOPs that it takes."""
    (row,) = (row for row in result["cascades"] if (row["bits"], row["calibrated"]) == (bits, calibrated))
    return round(row["sets"][name]["top1"] - row["sets"][name]["uniform"], 3)


def main() -> None:
    """Measure what is named, print, write; the record keeps the others."""
    arguments = named_parser(__doc__).parse_args()
    splits, held_out = images_of(arguments)
    results = results_in(RESULTS / "robust.json")
    for name, program in programs_of(arguments):
        with Progress() as progress:
            task = progress.add_task(name, total=len(SETS) + 2)
            network = Network(program)
            results[name] = measured(network, splits.test, held_out, partial(progress.advance, task))
    settings = {"images": len(splits.test), "held_out": HELD_OUT, "seed": SEED, "blur_window": BLUR_WINDOW}
    write("robust", settings=settings, results=results, checks=checks(results))


def checks(results: dict[str, Any]) -> list[Check]:
    """The targets."""
    what = f"cascade above uniform widths on corrupted images, at about the BitOPs of uniform {AT_BITS:g} bits"
    found = {name: gain(each, AT_BITS, "corrupted") for name, each in results.items()}
    return [Check(f"{name}: {what}", value, ">=", TARGET) for name, value in found.items()]


if __name__ == "__main__":
    main()
