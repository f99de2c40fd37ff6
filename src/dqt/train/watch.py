"""The known failures of training nested widths, noticed early and said in words, once per event."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dqt.arith.plan import AUTO

SMOOTH = 0.95
PATIENCE = 20
DIVERGED_FROM_BEST, BEST_FLOOR = 1.5, 0.3
DIVERGED_FROM_MASTER, MASTER_FLOOR, LATE = 3.0, 1.0, 0.3
DEAD, EXPLODED, DRIFTED = 1e-2, 30.0, 4.0
COLLAPSED = 0.98
SAME = "one plan for all"


class TrainingError(RuntimeError):
    """Training that cannot go on; names the step, the width, the value and what to do."""


class Watch:
    """Looks at losses, clips and choices as training goes; every method returns new warnings, usually none.

    A warning comes once; it may come again only after its cause was gone. What it has seen is plain data
    (:meth:`state`), so that a resumed run warns as the uninterrupted one would.

    Args:
        master: the master width.   total_steps: of the run.
    """

    def __init__(self, master: int, total_steps: int) -> None:
        self.master, self.total_steps = str(master), total_steps
        self.mean: dict[str, float] = {}
        self.seen: dict[str, int] = {}
        self.best: dict[str, float] = {}
        self.first: dict[str, float] = {}
        self.parts: list[float] = []
        self.active: list[str] = []

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        names = ("mean", "seen", "best", "first", "parts", "active")
        return {name: getattr(self, name).copy() for name in names}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` gave."""
        for name, value in state.items():
            setattr(self, name, value.copy())

    def losses(self, step: int, losses: Mapping[str, float]) -> list[str]:
        """Check the cross entropy of each pass of a step.

        Raises:
            TrainingError: a loss that is NaN or infinite.
        """
        for label, value in losses.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"step {step}: the loss of {_pass(label)} is {value}: lower the learning rate, set clip_gradient, "
                    "or look for NaN in the data; the last checkpoint is from before this step"
                )
            self.seen[label] = self.seen.get(label, 0) + 1
            keep = min(SMOOTH, 1 - 1 / self.seen[label])
            self.mean[label] = keep * self.mean.get(label, 0.0) + (1 - keep) * value
            if self.seen[label] >= PATIENCE:
                self.best[label] = min(self.best.get(label, math.inf), self.mean[label])
        return [text for label in losses for text in self._loss(step, label)]

    def _loss(self, step: int, label: str) -> list[str]:
        mean, best, master = self.mean[label], self.best.get(label), self.mean.get(self.master)
        if best is None:
            return []
        advice = "raise alpha or distill, use norm per width, or a higher lowest width"
        rose = mean > DIVERGED_FROM_BEST * best + BEST_FLOOR
        text = f"step {step}: the loss of {_pass(label)} diverges: {mean:.3f}, its best was {best:.3f}; {advice}"
        said = self._event(f"rise {label}", rose, text)
        if master is not None and label != self.master:
            late = step > LATE * self.total_steps
            behind = late and mean > DIVERGED_FROM_MASTER * master + MASTER_FLOOR
            text = f"step {step}: {_pass(label)} is left behind: loss {mean:.3f}, the master's {master:.3f}; {advice}"
            said += self._event(f"behind {label}", behind, text)
        return said

    def clips(self, step: int, clips: Mapping[str, Tensor], learned: set[str]) -> list[str]:
        """Check clips and ranges against what they were when first seen.

        Args:
            clips: of :meth:`dqt.nn.net.Net.clips`; ``[out]`` or 0-d.   learned: names whose clip is a parameter.
        """
        names = list(clips)
        least = torch.stack([clips[name].float().min() for name in names]).tolist() if names else []
        most = torch.stack([clips[name].float().max() for name in names]).tolist() if names else []
        said: list[str] = []
        for name, low, high in zip(names, least, most, strict=True):
            first_low = self.first.setdefault(f"{name} low", low)
            first_high = self.first.setdefault(f"{name} high", high)
            said += self._clip(step, name, low / max(first_low, 1e-12), high / max(first_high, 1e-12), low, high)
            if name not in learned:
                said += self._drift(step, name, high, first_high)
        return said

    def _clip(self, step: int, name: str, fell: float, rose: float, low: float, high: float) -> list[str]:
        small = f"step {step}: the clip of {name} dies: {low:.3g}, {fell:.2g} of what it was; lower lr"
        large = f"step {step}: the clip of {name} explodes: {high:.3g}, {rose:.3g} times what it was; lower lr"
        dead = self._event(f"dead {name}", not fell > DEAD, small + ", or set weight_clip to 'statistic'")
        return dead + self._event(f"exploded {name}", not rose < EXPLODED, large + " or set clip_gradient")

    def _drift(self, step: int, name: str, now: float, first: float) -> list[str]:
        ratio = max(now, 1e-12) / max(first, 1e-12)
        drifted = not 1 / DRIFTED < ratio < DRIFTED
        text = (
            f"step {step}: the range of {name} drifts: {now:.3g}, it began at {first:.3g}; "
            "calibrate on more data, or lower lr; a momentum nearer 1 follows more slowly"
        )
        return self._event(f"drift {name}", drifted, text)

    def choices(self, step: int, widths: Tensor, among: tuple[int, ...]) -> list[str]:
        """Check that the controller still chooses. ``widths``: int64 ``[N, chosen layers]``; ``among``: its choices."""
        counts = [float(c) / widths.numel() for c in _counts(widths, among)]
        self.seen["choices"] = self.seen.get("choices", 0) + 1
        before = self.parts or [0.0] * len(among)
        keep = min(SMOOTH, 1 - 1 / self.seen["choices"])
        self.parts = [keep * a + (1 - keep) * c for a, c in zip(before, counts, strict=True)]
        top = max(range(len(among)), key=self.parts.__getitem__)
        collapsed = len(among) > 1 and self.seen["choices"] >= PATIENCE and self.parts[top] > COLLAPSED
        text = (
            f"step {step}: the controller collapsed: {among[top]} bits in {self.parts[top]:.1%} of its choices; "
            "move bitops away from that width's cost, lower beta or controller_lr, or start with a higher gumbel_start"
        )
        return self._event("collapsed", collapsed, text) + self._ignores(step, widths)

    def _ignores(self, step: int, widths: Tensor) -> list[str]:
        """One plan for every sample of a batch, and so for steps on end: a static plan at a controller's price."""
        same = float((widths == widths[:1]).all())
        keep = min(SMOOTH, 1 - 1 / self.seen["choices"])
        self.mean[SAME] = keep * self.mean.get(SAME, 0.0) + (1 - keep) * same
        ignores = self.seen["choices"] >= PATIENCE and self.mean[SAME] > COLLAPSED
        text = (
            f"step {step}: the controller ignores its input: every sample gets the same plan; train longer, raise "
            "controller_lr, let it read more (Controller(grid=...)), or use dqt.search: a static plan costs less"
        )
        return self._event("one plan", ignores, text)

    def _event(self, key: str, present: bool, text: str) -> list[str]:
        if present and key not in self.active:
            self.active.append(key)
            return [text]
        if not present and key in self.active:
            self.active.remove(key)
        return []


def _counts(widths: Tensor, among: tuple[int, ...]) -> list[int]:
    counts = torch.bincount(widths.flatten().cpu(), minlength=max(among) + 1)
    return [int(counts[b]) for b in among]


def _pass(label: str) -> str:
    if label == AUTO:
        return "the controller's pass"
    return "the pass of mixed widths" if label == "mixed" else f"width {label}"
