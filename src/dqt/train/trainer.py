"""The loop behind ``dqt.fit``.

Everything random is a function of (seed, epoch, step), so a resumed run on the CPU equals an uninterrupted one to
the bit. Validation runs the integers that are served.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from dqt.nn.calibrate import run_calibration
from dqt.nn.diagnose import sentences
from dqt.nn.modes import Modes
from dqt.nn.net import Net
from dqt.nn.ranges import Edge
from dqt.train.average import Average
from dqt.train.checkpoint import LAST, Checkpoint, CheckpointError, restore
from dqt.train.data import DataError
from dqt.train.labels import check_held, labels_for
from dqt.train.layout import arrange, arranged, memory_order
from dqt.train.logbook import Logbook
from dqt.train.loss import objective
from dqt.train.processes import StopFlag, Stopped, equalize
from dqt.train.recipe import Recipe, Run
from dqt.train.schedule import optimizer_of, set_rate
from dqt.train.seeds import derive, permutation
from dqt.train.sources import Seed, Source
from dqt.train.validate import AUTO_SHARE, accuracies, batches_of, evaluate, plans_of, reestimate
from dqt.train.watch import TrainingError, Watch

BEST = "best.ckpt"
CLIPS_EVERY = 50
SHOWN = 3


class _Batch:
    """A batch on its way through Fabric, which under mixed precision casts every tensor that it sees.

    The input's quantizer must read the float32 values that are served; only the products after it are computed in less.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y


class _Whole(nn.Module):
    """The whole objective as one module, so that data parallelism sees a single forward pass."""

    def __init__(self, net: Net, recipe: Recipe, teacher: nn.Module | None) -> None:
        super().__init__()
        self.net, self.recipe = net, recipe
        self._teacher = (teacher,)  # not a part of what trains

    def forward(
        self, batch: _Batch, place: tuple[int, int, int], backward: Callable[[Tensor], object] | None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None, Tensor | None]:
        """Loss, losses by pass, expected share, chosen widths; ``place``: step, all steps, rank."""
        step, total, rank = place
        (teacher,), x, y = self._teacher, batch.x, batch.y
        soft = None
        if teacher is not None:
            with torch.no_grad():
                soft = teacher(x)
        found = objective(
            self.net, x, y, self.recipe, step=step, total_steps=total, rank=rank, backward=backward, teacher=soft
        )
        return found.loss, found.losses, found.share, found.widths


class Trainer:
    """The state of a run and its steps."""

    def __init__(
        self,
        fabric: Fabric,
        net: Net,
        source: Source,
        recipe: Recipe,
        checkpoint: Checkpoint | None,
        run: Run | None,
        teacher: nn.Module | None = None,
    ) -> None:
        self.fabric, self.net, self.source, self.recipe, self.run = fabric, net, source, recipe, run
        self.valid: Source | None = None
        self.run_dir: Path | None = None
        self.flag = StopFlag()
        self.epoch, self.step = 0, 0
        self.totals: dict[str, list[float]] = {}
        self.warnings: list[str] = []
        self.unsaid: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.written = time.monotonic()
        self.steps_per_epoch, self.per_step = _steps(len(source), source.batch_size, fabric.world_size)
        self.total_steps = recipe.epochs * self.steps_per_epoch
        self.plans = plans_of(net, recipe)
        self.watch = Watch(net.space.master, self.total_steps)
        self.learned = {edge.name for edge in net.edges.values() if isinstance(edge, Edge) and edge.learned}
        self.learned |= {name for name in net.clips() if name.endswith(".weight")}
        self.modes = Modes(net)
        self.frozen = frozen_parts(net, self.modes)
        self.order = memory_order(fabric.device, recipe.channels_last, net, *([] if teacher is None else [teacher]))
        self._set_up(checkpoint, teacher)

    # beginning

    def _set_up(self, checkpoint: Checkpoint | None, teacher: nn.Module | None) -> None:
        net, recipe, fabric = self.net, self.recipe, self.fabric
        net.to(fabric.device)
        arrange(net, self.order)
        check_held(net, self.source)
        if checkpoint is not None:
            restore(net, checkpoint, LAST)
        elif not net.calibrated:
            self.modes.train()
            run_calibration(net, self._plain_batches("calibrate", recipe.calibration_batches))
            self.unsaid = [f"calibration: {text}" for text in sentences(net.findings)]
        if teacher is not None:
            teacher = teacher.to(fabric.device).eval()
            arrange(teacher, self.order)
        optimizer = optimizer_of(net, recipe)
        self.module, self.optimizer = fabric.setup(_Whole(net, recipe, teacher), optimizer)
        self.average = Average(net, recipe.ema) if recipe.ema else None
        if checkpoint is not None:
            self._go_on_from(checkpoint)

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        if checkpoint.steps_per_epoch != self.steps_per_epoch:
            raise CheckpointError(
                f"{LAST}: {checkpoint.steps_per_epoch} steps an epoch then, {self.steps_per_epoch} now: "
                "the data, the batch size or the number of processes has changed"
            )
        before = checkpoint.totals.get("frozen", self.frozen)  # older checkpoints do not say
        if before != self.frozen:
            changed = ", ".join(sorted(set(before).symmetric_difference(self.frozen))[:SHOWN])
            raise CheckpointError(
                f"{LAST}: other parts of the network are frozen now than then ({changed}): freeze the same ones "
                "(requires_grad, and norms in evaluation mode), or begin a new run"
            )
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.fabric.strategy.precision.load_state_dict(checkpoint.precision)
        self.epoch, self.step = checkpoint.epoch, checkpoint.step
        self.totals, self.rows = checkpoint.totals["sums"], checkpoint.history
        self.warnings = checkpoint.totals["warnings"]
        self.watch.load(checkpoint.watch)
        if self.average is not None and checkpoint.average is not None:
            self.average = Average(self.net, self.recipe.ema, checkpoint.average, self.step)

    def _plain_batches(self, purpose: str, count: int) -> list[Tensor]:
        """Inputs of ``count`` batches without augmentation, the same in every process."""
        order = permutation(len(self.source), self.recipe.seed, purpose)
        indices = batches_of(order, self.source.batch_size)[:count]
        return [self._to_device(x) for x, _ in self.source.batches(indices)]

    def _training_batches(self, purpose: str, count: int) -> list[Tensor]:
        """Inputs of ``count`` batches, augmented as in training, the same in every process.

        Norm statistics must come from these: plain images of the training set, which the network knows by heart, have
        others (ResNet-20 on CIFAR-10 lost 2.7 points by them).
        """
        seed = self.recipe.seed
        indices = batches_of(permutation(len(self.source), seed, purpose), self.source.batch_size)[:count]
        seeds: list[Seed] = [(seed, purpose, i) for i in range(len(indices))]
        return [self._to_device(x) for x, _ in self.source.batches(indices, seeds)]

    def _to_device(self, x: Tensor) -> Tensor:
        return arranged(x.to(self.fabric.device), self.order)

    # the loop

    def train(self, progress: bool) -> None:
        """From where the run stands to its end."""
        book = Logbook(
            self.run_dir,
            active=self.fabric.is_global_zero,
            progress=progress,
            total_steps=self.total_steps,
            step=self.step,
            epochs=self.recipe.epochs,
        )
        with book:
            self._say(book, self.unsaid)
            if self.rows:
                book.history(self.rows)  # the run may have stopped between the checkpoint and this
            self._look_at_clips(book)
            while self.epoch < self.recipe.epochs:
                self._one_epoch(book)
                self._after_epoch()

    def _one_epoch(self, book: Logbook) -> None:
        self.modes.train()
        began = time.monotonic()
        done = self.step - self.epoch * self.steps_per_epoch
        indices, seeds = self._order()
        for samples, (x, y) in zip(indices[done:], self.source.batches(indices[done:], seeds[done:]), strict=True):
            self._one_step(x, labels_for(self.net, y, len(x), samples), book)
            self._after_step()
        self._end_epoch(book, time.monotonic() - began)

    def _order(self) -> tuple[list[Tensor], list[Seed]]:
        """This process's batches of the epoch, and the seeds of their augmentation."""
        seed, rank, count = self.recipe.seed, self.fabric.global_rank, self.steps_per_epoch
        used = count * self.fabric.world_size * self.per_step
        order = permutation(len(self.source), seed, "order", self.epoch)[:used]
        indices = list(order.view(count, self.fabric.world_size, self.per_step)[:, rank])
        return indices, [(seed, "augment", self.epoch, step, rank) for step in range(count)]

    def _one_step(self, x: Tensor, y: Tensor, book: Logbook) -> None:
        recipe, rank = self.recipe, self.fabric.global_rank
        torch.manual_seed(derive(recipe.seed, "dropout", self.step, rank))
        lr = set_rate(self.optimizer.optimizer, recipe, self.step, self.total_steps)
        self.optimizer.zero_grad()
        place = (self.step, self.total_steps, rank)
        several = self.fabric.world_size > 1
        loss, losses, share, widths = self.module(
            _Batch(self._to_device(x), y.to(self.fabric.device)), place, None if several else self.fabric.backward
        )
        self._record(book, losses, loss, share, widths)
        if several:
            self.fabric.backward(loss)
        if recipe.clip_gradient:
            self.fabric.clip_gradients(
                self.module, self.optimizer, max_norm=recipe.clip_gradient, error_if_nonfinite=False
            )
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.net)
        self.step += 1
        means = {label: sums[0] / sums[1] for label, sums in self.totals.items() if label != "share"}
        book.step(self.step, lr, means, None if share is None else float(share))

    def _record(
        self, book: Logbook, losses: dict[str, Tensor], loss: Tensor, share: Tensor | None, widths: Tensor | None
    ) -> None:
        """Add up what the step gave and let the watch look at it."""
        parts = [*losses.values(), loss.detach(), *([] if share is None else [share])]
        values = torch.stack([part.float() for part in parts]).tolist()
        named = dict(zip(losses, values, strict=False))
        said = self.watch.losses(self.step, named)
        if not math.isfinite(values[len(losses)]):
            raise TrainingError(f"step {self.step}: the objective is {values[len(losses)]}: lower lr, beta or alpha")
        if widths is not None:
            said += self.watch.choices(self.step, widths, self.net.space.choices)
            named["share"] = values[-1]
        for label, value in named.items():
            sums = self.totals.setdefault(label, [0.0, 0.0])
            sums[0], sums[1] = sums[0] + value, sums[1] + 1.0
        self._say(book, said)
        if self.step % CLIPS_EVERY == 0:
            self._look_at_clips(book)

    def _look_at_clips(self, book: Logbook) -> None:
        self._say(book, self.watch.clips(self.step, self.net.clips(), self.learned))

    def _say(self, book: Logbook, said: list[str]) -> None:
        self.warnings += said
        for text in said:
            book.warn(text)

    # stopping and writing

    def _after_step(self) -> None:
        recipe = self.recipe
        minutes = (time.monotonic() - self.written) / 60
        due = (recipe.checkpoint_steps and self.step % recipe.checkpoint_steps == 0) or (
            recipe.checkpoint_minutes and minutes >= recipe.checkpoint_minutes and self.fabric.is_global_zero
        )
        flags = equalize(self.fabric, self.net, torch.tensor([float(self.flag.raised), float(bool(due))]))
        stop, write = (bool(flag > 0) for flag in flags)
        if stop or write:
            self._write(LAST)
        if stop:
            self._stop()

    def _after_epoch(self) -> None:
        """Stop here, with the epoch's own checkpoint, if the signal came while it was validated."""
        flag = equalize(self.fabric, self.net, torch.tensor([float(self.flag.raised)]))
        if bool(flag[0] > 0) and self.epoch < self.recipe.epochs:
            self._stop()

    def _stop(self) -> None:
        saved = "nothing was saved, because there is no run_dir"
        if self.run_dir is not None:
            saved = f"saved in {self.run_dir / LAST}: resume with fit(..., resume=True) or dqt train CONFIG --resume"
        raise Stopped(f"stopped after step {self.step} of {self.total_steps}; {saved}")

    def _write(self, name: str) -> None:
        self.written = time.monotonic()
        if self.run_dir is None or not self.fabric.is_global_zero:
            return
        Checkpoint(
            run=self.run.as_dict() if self.run else None,
            recipe=self.recipe.model_dump(mode="json"),
            net=self.net.state_dict(),
            average=self.average.values if self.average else None,
            optimizer=self.optimizer.state_dict(),
            precision=self.fabric.strategy.precision.state_dict(),
            epoch=self.epoch,
            step=self.step,
            steps_per_epoch=self.steps_per_epoch,
            totals={"sums": self.totals, "warnings": self.warnings, "frozen": self.frozen},
            history=self.rows,
            watch=self.watch.state(),
            shape=list(self.net.input_shape),
            info=self.source.info,
        ).save(self.run_dir / name)

    def _end_epoch(self, book: Logbook, seconds: float) -> None:
        self.epoch += 1
        final = self.epoch == self.recipe.epochs
        means = self._epoch_means()
        row = {
            "epoch": self.epoch,
            "step": self.step,
            "lr": self.optimizer.param_groups[0]["lr"],
            "share": means.pop("share", None),
            "losses": means,
            "accuracy": {},
            "warnings": self.warnings,
            "seconds": round(seconds, 3),
        }
        self.totals, self.warnings = {}, []
        if final or self.epoch % self.recipe.valid_every == 0:
            self._serve(row, final)
        else:
            self.rows.append(row)
        self._write(LAST)
        book.epoch(self.rows)

    def _epoch_means(self) -> dict[str, float]:
        sums = torch.tensor(list(self.totals.values()), dtype=torch.float64, device=self.fabric.device)
        reduced = self.fabric.all_reduce(sums, reduce_op="sum")
        assert isinstance(reduced, Tensor)
        return {name: float(s / n) for name, (s, n) in zip(self.totals, reduced, strict=True)}

    def _serve(self, row: dict[str, Any], final: bool) -> None:
        """Fresh norm statistics, validation by the exact network, and the best checkpoint; the average serves."""
        if self.average is None:
            self._validate(row)
            return
        with self.average.applied(self.net, keep=final):
            self._validate(row)

    def _validate(self, row: dict[str, Any]) -> None:
        recipe, fabric = self.recipe, self.fabric
        reestimate(self.net, self._training_batches("reestimate", recipe.reestimate_batches))
        if self.valid is not None:
            sums = evaluate(
                self.net, self.valid, self.plans, fabric.device, rank=fabric.global_rank, ranks=fabric.world_size
            )
            reduced = fabric.all_reduce(sums.to(fabric.device), reduce_op="sum")
            assert isinstance(reduced, Tensor)
            row["accuracy"] = accuracies(reduced.cpu(), self.plans)
        best = max((_score(before) for before in self.rows if before["accuracy"]), default=-1.0)
        self.rows.append(row)
        if row["accuracy"] and _score(row) > best:
            self._write(BEST)


def frozen_parts(net: Net, modes: Modes) -> list[str]:
    """Names of the parameters that do not train, and of the modules that stay in evaluation mode."""
    names = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    still = {id(module) for module in modes.frozen}
    return sorted(names | {name for name, module in net.named_modules() if id(module) in still})


def _score(row: dict[str, Any]) -> float:
    values = [value for name, value in row["accuracy"].items() if name != AUTO_SHARE]
    return sum(values) / len(values)


def _steps(samples: int, batch_size: int, processes: int) -> tuple[int, int]:
    """Steps of an epoch, and samples of each step and process; the last incomplete step is left out."""
    if samples < processes:
        raise DataError(f"{samples} training samples for {processes} processes")
    per_step = min(batch_size, samples // processes)
    return samples // (per_step * processes), per_step
