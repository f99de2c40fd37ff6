"""What a run leaves to read: a progress bar, TensorBoard scalars, one JSON line for each epoch."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dqt.arith.plan import AUTO
from dqt.program.task import PERCENT, Task
from dqt.train.board import Board
from dqt.train.checkpoint import write_atomically
from dqt.train.record import scores_of
from dqt.train.validate import AUTO_SHARE

HISTORY, BOARD = "history.jsonl", "tensorboard"
EVERY = 10

logger = logging.getLogger("dqt.train")


class Logbook:
    """Writes for one process; an inactive one does nothing.

    Args:
        run_dir: folder of the run, or None: nothing is written.
        active: whether this is the process that writes.   progress: show a bar and a line for each epoch.
        total_steps, step: of the run, and where it begins.   task: whose metric it shows; None: classification.
    """

    def __init__(
        self,
        run_dir: Path | None,
        *,
        active: bool,
        progress: bool,
        total_steps: int,
        step: int,
        epochs: int,
        task: Task | None = None,
    ) -> None:
        self.run_dir = run_dir if active else None
        self.active, self.epochs, self.silent, self.judged = active, epochs, False, task
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(*columns, console=Console(stderr=True), disable=not (active and progress))
        self.task = self.progress.add_task("training", total=total_steps, completed=step, note="")
        self.board = Board(self.run_dir / BOARD, step) if self.run_dir else None

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
        self._flush()

    def step(self, step: int, lr: float, losses: Mapping[str, float], share: float | None) -> None:
        """One step is done."""
        note = " ".join(f"{label}: {value:.3f}" for label, value in losses.items())
        self.progress.update(self.task, completed=step, note=note)
        if self.board is None or step % EVERY:
            return
        self.board.scalar("lr", lr, step)
        for label, value in losses.items():
            self.board.scalar(f"loss/{label}", value, step)
        if share is not None:
            self.board.scalar("expected_share", share, step)
        if self.board.due:
            self._flush()

    def warn(self, text: str) -> None:
        """Say a warning, on the logger ``dqt.train``."""
        if self.active:
            logger.warning("%s", text)

    def epoch(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """An epoch is done; ``rows`` are all epochs so far."""
        row = rows[-1]
        if not self.progress.disable:
            said = describe(row, self.judged)
            self.progress.console.print(f"epoch {row['epoch']}/{self.epochs}  {said}", highlight=False)
        if self.board is not None:
            for label, value in scores_of(row).items():
                self.board.scalar(f"valid/{label}", value, row["step"])
        self._flush()
        self.history(rows)

    def history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the lines of all epochs so far."""
        if self.run_dir is not None:
            text = "".join(json.dumps(each) + "\n" for each in rows)
            write_atomically(self.run_dir / HISTORY, text.encode())

    def _flush(self) -> None:
        said = self.board.flush() if self.board is not None else ""
        if said and not self.silent:
            self.warn(f"{said}; the log for TensorBoard is kept in memory and tried again")
        self.silent = bool(said)


def describe(row: Mapping[str, Any], task: Task | None = None) -> str:
    """One epoch in one line: mean losses, and the metric of what would be served."""
    losses = " ".join(f"{label}: {value:.3f}" for label, value in row["losses"].items())
    scores = scores_of(row)
    share = scores.pop(AUTO_SHARE, None)
    percent = task is None or task.unit == PERCENT
    shown = " ".join(
        f"{label}: {100 * value:.2f}" if percent else f"{label}: {value:.4g}" for label, value in scores.items()
    )
    cost = f" ({AUTO} at {100 * share:.1f} % of the BitOPs)" if share is not None else ""
    name = "top-1 %" if task is None else f"{task.metric_name} {task.unit}".rstrip()
    return f"loss {losses}" + (f"  |  {name} {shown}{cost}" if shown else "")
