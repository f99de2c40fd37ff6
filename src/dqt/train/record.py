"""What a run records: sums of the epoch in progress, its warnings, and one row for each epoch that is complete."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dqt.nn.net import Net
from dqt.nn.ranges import Quantizer
from dqt.program.task import CLASSIFICATION, Task
from dqt.train.validate import AUTO_SHARE
from dqt.train.watch import TrainingError, Watch

SHARE = "share"


class Record:
    """The record of a run of ``total_steps``; plain values, so that a checkpoint can hold it.

    Attributes:
        totals: by label the sum over this process's steps of the epoch, and their count: the loss of each pass, and
            ``share``, the relative BitOPs of the controller's choices.
        warnings: of the epoch in progress.   rows: see :class:`dqt.train.fit.History`.
        watch: which notices the known failures.
    """

    def __init__(self, net: Net, total_steps: int, task: Task | None = None) -> None:
        self.net, self.task = net, task or Task.classification()
        self.totals: dict[str, list[float]] = {}
        self.warnings: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.watch = Watch(net.space.master, total_steps)
        self._learned = {each.name for each in net.quantizers.values() if isinstance(each, Quantizer) and each.learned}
        self._learned |= {name for name in net.clips() if name.endswith(".weight")}

    def add_step(
        self, step: int, loss: Tensor, losses: Mapping[str, Tensor], share: Tensor | None, widths: Tensor | None
    ) -> list[str]:
        """Add up what a training step gave and let the watch look at it; new warnings.

        Args:
            loss, losses, share, widths: see :class:`dqt.train.loss.Objective`.

        Raises:
            TrainingError: a loss that is not finite.
        """
        parts = [*losses.values(), loss.detach(), *([] if share is None else [share])]
        values = torch.stack([part.float() for part in parts]).tolist()  # one transfer from the device
        named = dict(zip(losses, values, strict=False))
        said = self.watch.losses(step, named)
        if not math.isfinite(values[len(losses)]):
            raise TrainingError(f"step {step}: the objective is {values[len(losses)]}: lower lr, beta or alpha")
        if widths is not None:
            said += self.watch.choices(step, widths, self.net.space.choices)
            named[SHARE] = values[-1]
        for label, value in named.items():
            sums = self.totals.setdefault(label, [0.0, 0.0])
            sums[0], sums[1] = sums[0] + value, sums[1] + 1.0
        return said

    def look_at_clips(self, step: int) -> list[str]:
        """Let the watch look at all clips and ranges; new warnings."""
        return self.watch.clips(step, self.net.clips(), self._learned)

    def losses(self) -> dict[str, float]:
        """Mean loss by pass over this process's steps of the epoch so far."""
        return {label: total / count for label, (total, count) in self.totals.items() if label != SHARE}

    def sums(self) -> Tensor:
        """``totals`` as float64 ``[labels, 2]``, to be added up over processes."""
        return torch.tensor(list(self.totals.values()), dtype=torch.float64)

    def level(self, means: Tensor) -> None:
        """``totals`` become the mean over the processes, so that a checkpoint of one of them is everyone's.

        Args:
            means: of :meth:`sums`, over all processes.
        """
        self.totals = {label: each.tolist() for label, each in zip(self.totals, means, strict=True)}

    def end_epoch(self, sums: Tensor, *, epoch: int, step: int, lr: float, seconds: float) -> dict[str, Any]:
        """The row of the epoch that ends here, not yet validated; the next epoch's sums and warnings begin empty.

        Args:
            sums: of :meth:`sums`, over all processes.
        """
        means = {label: float(total / count) for label, (total, count) in zip(self.totals, sums, strict=True)}
        row = {
            "epoch": epoch,
            "step": step,
            "lr": lr,
            "share": means.pop(SHARE, None),
            "losses": means,
            **scores_entry(self.task, {}),
            "warnings": self.warnings,
            "seconds": round(seconds, 3),
        }
        self.totals, self.warnings = {}, []
        return row

    def add_row(self, row: dict[str, Any]) -> bool:
        """Append the row of a complete epoch; whether it was validated, and better than all rows before it."""
        best = max((self._gain(before) for before in self.rows if scores_of(before)), default=-math.inf)
        self.rows.append(row)
        return bool(scores_of(row)) and self._gain(row) > best

    def _gain(self, row: Mapping[str, Any]) -> float:
        """The metric's mean over the validated plans, larger is better."""
        values = [value for name, value in scores_of(row).items() if name != AUTO_SHARE]
        return self.task.gain(float(sum(values) / len(values)))


def scores_entry(task: Task, scores: Mapping[str, float]) -> dict[str, Any]:
    """How a row holds the metric by plan: ``accuracy`` of classification, ``scores`` and ``metric`` of other tasks."""
    return {"accuracy": scores} if task.name == CLASSIFICATION else {"scores": scores, "metric": task.metric_name}


def scores_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The metric by plan of a row; empty where nothing was validated."""
    return dict(row.get("accuracy") or row.get("scores") or {})
