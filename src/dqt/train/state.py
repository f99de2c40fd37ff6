"""Everything of a run that changes as it trains, to a checkpoint and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dqt.nn.modes import Modes
from dqt.nn.net import Net
from dqt.program.task import CLASSIFICATION, Task
from dqt.train.average import Average
from dqt.train.checkpoint import LAST, Checkpoint, CheckpointError
from dqt.train.feed import Feed
from dqt.train.recipe import Recipe, Run
from dqt.train.record import Record

SHOWN = 3


class Stateful(Protocol):
    """What gives its state as plain values and takes it back: an optimizer, a loss scaler."""

    def state_dict(self) -> Any:
        """The state, plain values and tensors."""
        ...

    def load_state_dict(self, state_dict: Any) -> Any:
        """Take back what :meth:`state_dict` gave."""
        ...


@dataclass
class State:
    """The parts of a run that a checkpoint holds.

    Attributes:
        precision: the loss scaler.   average: of the weights, where the recipe keeps one.
        frozen: see :func:`frozen_parts`; a run goes on only with the same ones.   task: what it trains for.
        epoch, step: epochs that are complete, steps done in all.
    """

    net: Net
    optimizer: Stateful
    precision: Stateful
    average: Average | None
    record: Record
    frozen: list[str]
    task: Task = field(default_factory=Task.classification)
    epoch: int = 0
    step: int = 0

    def checkpoint(self, feed: Feed, recipe: Recipe, run: Run | None) -> Checkpoint:
        """All that :meth:`go_on_from` needs, and what rebuilds the network without this program."""
        record = self.record
        return Checkpoint(
            run=run.as_dict() if run else None,
            recipe=recipe.model_dump(mode="json"),
            net=self.net.state_dict(),
            average=self.average.values if self.average else None,
            optimizer=self.optimizer.state_dict(),
            precision=self.precision.state_dict(),
            epoch=self.epoch,
            step=self.step,
            steps_per_epoch=feed.steps,
            totals={
                "sums": record.totals,
                "warnings": record.warnings,
                "frozen": self.frozen,
                "samples": feed.samples,
            },
            history=record.rows,
            watch=record.watch.state(),
            shape=shape_of(self.net),
            info=info_of(feed.source.info, self.task),
        )

    def go_on_from(self, checkpoint: Checkpoint, feed: Feed) -> None:
        """Stand where ``checkpoint`` stood; the network itself is restored before its optimizer is made.

        Raises:
            CheckpointError: other data, another batch size or number of processes, or other frozen parts.
        """
        self._check(checkpoint, feed)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.precision.load_state_dict(checkpoint.precision)
        self.epoch, self.step = checkpoint.epoch, checkpoint.step
        self.record.totals, self.record.rows = checkpoint.totals["sums"], checkpoint.history
        self.record.warnings = checkpoint.totals["warnings"]
        self.record.watch.load(checkpoint.watch)
        if self.average is not None and checkpoint.average is not None:
            self.average = Average(self.net, self.average.decay, checkpoint.average, self.step)

    def _check(self, checkpoint: Checkpoint, feed: Feed) -> None:
        if checkpoint.steps_per_epoch != feed.steps:
            raise CheckpointError(
                f"{LAST}: {checkpoint.steps_per_epoch} steps an epoch then, {feed.steps} now: "
                "the data, the batch size or the number of processes has changed"
            )
        samples = checkpoint.totals.get("samples", feed.samples)  # older checkpoints do not say
        if samples != feed.samples:
            raise CheckpointError(
                f"{LAST}: {samples} samples in a training step then, {feed.samples} now: batch_size times the "
                "number of processes must stay what it was"
            )
        before = checkpoint.totals.get("frozen", self.frozen)
        if before != self.frozen:
            changed = ", ".join(sorted(set(before).symmetric_difference(self.frozen))[:SHOWN])
            raise CheckpointError(
                f"{LAST}: other parts of the network are frozen now than then ({changed}): freeze the same ones "
                "(requires_grad, and norms in evaluation mode), or begin a new run"
            )
        was, now = checkpoint.info.get("task"), info_of({}, self.task).get("task")
        if was != now and not (was is None and now == "dense"):  # older checkpoints do not say
            before, after = was or CLASSIFICATION, now or CLASSIFICATION
            raise CheckpointError(f"{LAST}: the task was {before!r} and is {after!r} now: use the old one")


def shape_of(net: Net) -> Any:
    """What :func:`dqt.train.build.example` makes an input from: the shape of the one that holds floats, or by name
    the shapes and kinds.
    """
    each = net.inputs.each
    if len(each) == 1 and each[0].kind == "float":
        return list(each[0].shape)
    return {one.name: {"shape": list(one.shape), "kind": one.kind} for one in each}


def info_of(info: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """What travels with the network: of its data, and its task where that is not classification as usual."""
    spec = task.spec if task.spec is not None else f"own: {task.name}"
    return {**info} if spec == CLASSIFICATION else {**info, "task": spec}


def frozen_parts(net: Net, modes: Modes) -> list[str]:
    """Names of the parameters that do not train, and of the modules that stay in evaluation mode."""
    names = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    still = {id(module) for module in modes.frozen}
    return sorted(names | {name for name, module in net.named_modules() if id(module) in still})
