"""Float training of a network. A run that is stopped goes on, on the CPU with the same bits as an uninterrupted run."""

from __future__ import annotations

import hashlib
import math
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from bench.evidence import records
from bench.evidence.records import FloatRecord, RecordError
from bench.evidence.training import Place, check_run, note_start, started
from dqt.train.build import float_model, load_data
from dqt.train.checkpoint import LAST, read, write, write_atomically
from dqt.train.data import DataSet
from dqt.train.layout import arrange, arranged, memory_order
from dqt.train.processes import StopFlag, Stopped, keep_freed_memory, make_fabric, stop_flag
from dqt.train.schedule import optimizer_of, set_rate
from dqt.train.seeds import derive, permutation
from dqt.train.validate import batches_of
from dqt.train.watch import TrainingError

TEST_BATCH = 500


def train(where: Place, weights: Path, results: Path) -> FloatRecord:
    """Train in this one process, or go on; then ``weights`` get the state dict, and the record says what it reaches.

    Raises:
        RecordError: the folder holds another recipe's run. Stopped: interrupted and saved.
        CheckpointError: see :func:`dqt.train.checkpoint.read`. TrainingError: a loss that is not finite.
    """
    recipe = where.run.recipe
    path = records.float_path_of(where.name, recipe.seed, results)
    if where.run.model.weights or where.run.model.checkpoint:
        raise RecordError(f"{where.name}: float training begins anew: leave model.weights and model.checkpoint out")
    keep_freed_memory()
    splits = load_data(where.located())
    fabric = make_fabric(recipe)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), stop_flag() as flag:
        training = FloatTraining(where, splits.train.to(fabric.device), fabric)
        if training.epoch < recipe.epochs:
            note_start(where, resume=training.step > 0)
        while training.epoch < recipe.epochs:
            training.one_epoch(flag)
    state = {name: value.detach().cpu().contiguous() for name, value in training.net.state_dict().items()}
    payload = save(state)
    write_atomically(weights, payload)
    record = FloatRecord(
        name=where.name,
        seed=recipe.seed,
        recipe=where.run.as_dict(),
        started=tuple(started(where)),
        seconds=round(sum(row["seconds"] for row in training.rows), 1),
        losses=tuple(row["loss"] for row in training.rows),
        images={"train": len(splits.train), "test": len(splits.test)},
        weights=hashlib.sha256(payload).hexdigest(),
        accuracy=round(training.accuracy(splits.test.to(fabric.device)), 6),
    )
    record.save(path)
    print(f"{path.stem}: {100 * record.accuracy:.2f} %, weights in {weights}", flush=True)
    return record


class FloatTraining:
    """The state of a float run and its steps. Every random draw is a function of (seed, epoch, step)."""

    def __init__(self, where: Place, data: DataSet, fabric: Any) -> None:
        self.where, self.data, self.fabric, self.recipe = where, data, fabric, where.run.recipe
        self.epoch, self.step = 0, 0
        self.rows: list[dict[str, Any]] = []
        torch.manual_seed(self.recipe.seed)
        self.net = float_model(where.run.model)
        self.net.to(fabric.device)
        self.order = memory_order(fabric.device, self.recipe.channels_last, self.net)
        arrange(self.net, self.order)
        self.module, self.optimizer = fabric.setup(self.net, optimizer_of(self.net, self.recipe))
        self.size = min(self.recipe.batch_size, len(data))
        self.steps = len(data) // self.size
        self.loss = torch.zeros((), device=fabric.device)
        self.seconds = 0.0
        self.written = time.monotonic()
        if (where.folder / LAST).exists():
            self._go_on(read(where.folder / LAST))

    def _go_on(self, held: dict[str, Any]) -> None:
        check_run(self.where, held.get("run"))
        if held["steps"] != self.steps:
            raise RecordError(
                f"{self.where.folder}: {held['steps']} steps an epoch then, {self.steps} now: the data has changed"
            )
        self.net.load_state_dict(held["net"])
        self.optimizer.load_state_dict(held["optimizer"])
        self.fabric.strategy.precision.load_state_dict(held["precision"])
        self.epoch, self.step, self.rows, self.seconds = held["epoch"], held["step"], held["rows"], held["seconds"]
        self.loss = held["loss"].to(self.fabric.device)

    def one_epoch(self, flag: StopFlag) -> None:
        """What is left of the epoch, and its row."""
        self.net.train()
        began, before = time.monotonic(), self.seconds
        seed, done = self.recipe.seed, self.step - self.epoch * self.steps
        order = batches_of(permutation(len(self.data), seed, "order", self.epoch), self.size)[: self.steps]
        for i, index in list(enumerate(order))[done:]:
            self._one_step(*self.data.batch(index, seed, "augment", self.epoch, i))
            self.seconds = before + time.monotonic() - began
            self._look_at_the_clock(flag)
        loss = float(self.loss) / self.steps
        self.epoch += 1
        if not math.isfinite(loss):
            raise TrainingError(f"{self.where.name}: the loss of epoch {self.epoch} is {loss}: lower recipe.lr")
        self.rows.append({"epoch": self.epoch, "loss": loss, "seconds": round(self.seconds, 3)})
        self.loss, self.seconds = torch.zeros_like(self.loss), 0.0
        self._write()
        print(f"{self.where.name}: epoch {self.epoch} of {self.recipe.epochs}, loss {loss:.4f}", flush=True)

    def _one_step(self, x: Tensor, y: Tensor) -> None:
        torch.manual_seed(derive(self.recipe.seed, "dropout", self.step))
        set_rate(self.optimizer.optimizer, self.recipe, self.step, self.recipe.epochs * self.steps)
        loss = F.cross_entropy(
            self.module(arranged(x, self.order)).float(), y, label_smoothing=self.recipe.label_smoothing
        )
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.step += 1
        self.loss += loss.detach()  # read once an epoch: reading waits for the device

    def _look_at_the_clock(self, flag: StopFlag) -> None:
        minutes = (time.monotonic() - self.written) / 60
        if flag.raised or 0 < self.recipe.checkpoint_minutes <= minutes:
            self._write()
        if flag.raised:
            total = self.recipe.epochs * self.steps
            raise Stopped(f"stopped after step {self.step} of {total}; saved in {self.where.folder / LAST}")

    def _write(self) -> None:
        self.written = time.monotonic()
        state = {
            "run": self.where.run.as_dict(),
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "steps": self.steps,
            "loss": self.loss,
            "rows": self.rows,
            "seconds": self.seconds,
        }
        write(state, self.where.folder / LAST)

    @torch.no_grad()
    def accuracy(self, data: DataSet) -> float:
        """Top-1 in [0, 1], without mixed precision."""
        self.net.eval()
        right = 0
        for index in batches_of(torch.arange(len(data)), TEST_BATCH):
            x, y = data.batch(index)
            right += int((self.net(x).argmax(1) == y).sum())
        return right / len(data)
