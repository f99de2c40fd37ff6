"""The loop behind ``dqt.fit``: it drives the feed, the objective, the record and the checkpoints.

Everything random is a function of (seed, epoch, step), so a resumed run on the CPU equals an uninterrupted one to
the bit. Validation runs the integers that are served.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from dqt.nn.calibrate import run_calibration
from dqt.nn.diagnose import sentences
from dqt.nn.modes import Modes
from dqt.nn.net import Net
from dqt.program.task import GivenTask
from dqt.train.average import Average
from dqt.train.checkpoint import BEST, LAST, Checkpoint, restore
from dqt.train.feed import Feed
from dqt.train.layout import arrange, memory_order
from dqt.train.logbook import Logbook
from dqt.train.losses import check_recipe
from dqt.train.processes import StopFlag, Stopped, equalize, summed
from dqt.train.recipe import Recipe, Run
from dqt.train.record import Record, scores_entry
from dqt.train.schedule import optimizer_of, set_rate
from dqt.train.seeds import derive
from dqt.train.sources import Source
from dqt.train.state import State, frozen_parts
from dqt.train.structures import count, moved
from dqt.train.targets import check_held, targets_for, task_of_net
from dqt.train.validate import accuracies, evaluate, plans_of, reestimate
from dqt.train.whole import Batch, Place, Whole

CLIPS_EVERY = 50


class Trainer:
    """A run: its parts, and the loop over epochs and steps.

    Attributes:
        valid: what to validate on, if anything.   run_dir: where checkpoints go, if anywhere.   flag: asks it to stop.
    """

    def __init__(
        self,
        fabric: Fabric,
        net: Net,
        source: Source,
        recipe: Recipe,
        checkpoint: Checkpoint | None,
        run: Run | None,
        teacher: nn.Module | None = None,
        task: GivenTask | None = None,
    ) -> None:
        self.fabric, self.net, self.recipe, self.run = fabric, net, recipe, run
        self.task = task_of_net(net, task)
        check_recipe(self.task, recipe)
        self.valid: Source | None = None
        self.run_dir: Path | None = None
        self.flag = StopFlag()
        self.unsaid: list[str] = []
        self.written = time.monotonic()
        order = memory_order(fabric.device, recipe.channels_last, net, *([] if teacher is None else [teacher]))
        rank, ranks = fabric.global_rank, fabric.world_size
        self.feed = Feed(source, recipe.seed, fabric.device, order, rank=rank, ranks=ranks)
        self.total_steps = recipe.epochs * self.feed.steps
        self.plans = plans_of(net, recipe)
        self.record = Record(net, self.total_steps, self.task)
        self.modes = Modes(net)
        frozen = frozen_parts(net, self.modes)
        self._prepare(checkpoint)
        if teacher is not None:
            teacher = teacher.to(fabric.device).eval()
            arrange(teacher, order)
        self.module, self.optimizer = fabric.setup(
            Whole(net, recipe, teacher, self.task, processes=ranks > 1), optimizer_of(net, recipe)
        )
        average = Average(net, recipe.ema) if recipe.ema else None
        self.state = State(net, self.optimizer, fabric.strategy.precision, average, self.record, frozen, self.task)
        if checkpoint is not None:
            self.state.go_on_from(checkpoint, self.feed)

    def _prepare(self, checkpoint: Checkpoint | None) -> None:
        """The network on its device, with the values from which this run begins or goes on."""
        net = self.net.to(self.fabric.device)
        arrange(net, self.feed.order)
        check_held(net, self.task, self.feed.source)
        if checkpoint is not None:
            restore(net, checkpoint, LAST)
        elif not net.calibrated:
            self.modes.train()
            run_calibration(net, self.feed.plain("calibrate", self.recipe.calibration_batches), training=True)
            self.unsaid = [f"calibration: {text}" for text in sentences(net.findings)]

    # the loop

    def train(self, progress: bool) -> None:
        """From where the run stands to its end."""
        state, record = self.state, self.record
        book = Logbook(
            self.run_dir,
            active=self.fabric.is_global_zero,
            progress=progress,
            total_steps=self.total_steps,
            step=state.step,
            epochs=self.recipe.epochs,
            task=self.task,
        )
        with book:
            self._say(book, self.unsaid)
            if record.rows:
                book.history(record.rows)  # the run may have stopped between the checkpoint and this
            self._say(book, record.look_at_clips(state.step))
            while state.epoch < self.recipe.epochs:
                self._one_epoch(book)
                self._after_epoch()

    def _one_epoch(self, book: Logbook) -> None:
        self.modes.train()
        began, state = time.monotonic(), self.state
        done = state.step - state.epoch * self.feed.steps
        for samples, x, y in self.feed.epoch(state.epoch, done):
            self._one_step(x, targets_for(self.net, self.task, y, count(x), samples), book)
            self._after_step()
        self._end_epoch(book, time.monotonic() - began)

    def _one_step(self, x: Any, y: Any, book: Logbook) -> None:
        recipe, fabric, state = self.recipe, self.fabric, self.state
        place = Place(state.step, self.total_steps, fabric.global_rank)
        torch.manual_seed(derive(recipe.seed, "dropout", place.step, place.rank))
        lr = set_rate(self.optimizer.optimizer, recipe, place.step, self.total_steps)
        self.optimizer.zero_grad()
        several = fabric.world_size > 1
        loss, losses, share, widths = self.module(
            Batch(x, moved(y, fabric.device)), place, None if several else fabric.backward
        )
        self._say(book, self.record.add_step(place.step, loss, losses, share, widths))
        if place.step % CLIPS_EVERY == 0:
            self._say(book, self.record.look_at_clips(place.step))
        if several:
            fabric.backward(loss)
        if recipe.clip_gradient:
            fabric.clip_gradients(self.module, self.optimizer, max_norm=recipe.clip_gradient, error_if_nonfinite=False)
        self.optimizer.step()
        if state.average is not None:
            state.average.update(self.net)
        state.step += 1
        book.step(state.step, lr, self.record.losses(), None if share is None else float(share))

    def _say(self, book: Logbook, said: list[str]) -> None:
        self.record.warnings += said
        for text in said:
            book.warn(text)

    # stopping and writing

    def _after_step(self) -> None:
        recipe = self.recipe
        minutes = (time.monotonic() - self.written) / 60
        due = (recipe.checkpoint_steps and self.state.step % recipe.checkpoint_steps == 0) or (
            recipe.checkpoint_minutes and minutes >= recipe.checkpoint_minutes and self.fabric.is_global_zero
        )
        flags = equalize(self.fabric, self.net, torch.tensor([float(self.flag.raised), float(bool(due))]))
        stop, write = (bool(flag > 0) for flag in flags)
        if stop or write:
            self.record.level(summed(self.fabric, self.record.sums()) / self.fabric.world_size)
            self._write(LAST)
        if stop:
            self._stop()

    def _after_epoch(self) -> None:
        """Stop here, with the epoch's own checkpoint, if the signal came while it was validated."""
        flag = equalize(self.fabric, self.net, torch.tensor([float(self.flag.raised)]))
        if bool(flag[0] > 0) and self.state.epoch < self.recipe.epochs:
            self._stop()

    def _stop(self) -> None:
        saved = "nothing was saved, because there is no run_dir"
        if self.run_dir is not None:
            saved = f"saved in {self.run_dir / LAST}: resume with fit(..., resume=True) or dqt train CONFIG --resume"
        raise Stopped(f"stopped after step {self.state.step} of {self.total_steps}; {saved}")

    def _write(self, name: str) -> None:
        self.written = time.monotonic()
        if self.run_dir is not None and self.fabric.is_global_zero:
            self.state.checkpoint(self.feed, self.recipe, self.run).save(self.run_dir / name)

    def _end_epoch(self, book: Logbook, seconds: float) -> None:
        state, record = self.state, self.record
        state.epoch += 1
        final = state.epoch == self.recipe.epochs
        lr = self.optimizer.param_groups[0]["lr"]
        sums = summed(self.fabric, record.sums())
        row = record.end_epoch(sums, epoch=state.epoch, step=state.step, lr=lr, seconds=seconds)
        if final or state.epoch % self.recipe.valid_every == 0:
            self._serve(row, final)
        else:
            record.add_row(row)
        self._write(LAST)
        book.epoch(record.rows)

    def _serve(self, row: dict[str, Any], final: bool) -> None:
        """Fresh norm statistics, validation by the exact network, and the best checkpoint; the average serves."""
        if self.state.average is None:
            self._validate(row)
            return
        with self.state.average.applied(self.net, keep=final):
            self._validate(row)

    def _validate(self, row: dict[str, Any]) -> None:
        fabric = self.fabric
        reestimate(self.net, self.feed.augmented("reestimate", self.recipe.reestimate_batches))
        if self.valid is not None:
            rank, ranks = fabric.global_rank, fabric.world_size
            scored = evaluate(self.net, self.valid, self.plans, fabric.device, task=self.task, rank=rank, ranks=ranks)
            joined = scored if ranks == 1 else scored.joined(lambda values: summed(fabric, values))
            row.update(scores_entry(self.task, accuracies(joined, self.plans)))
        if self.record.add_row(row):
            self._write(BEST)
