"""``dqt.fit``: the paper's training on Lightning Fabric, which can stop at any moment and go on as if it had not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dqt.nn.guards import outside_inference_mode, prepared
from dqt.nn.net import Net
from dqt.program.task import GivenTask
from dqt.train.build import task_of_run
from dqt.train.checkpoint import LAST, Checkpoint, CheckpointError
from dqt.train.lock import locked
from dqt.train.processes import make_fabric, stop_flag
from dqt.train.recipe import Recipe, RecipeError, Run, given_recipe
from dqt.train.record import scores_of
from dqt.train.sources import Data, source_of
from dqt.train.targets import check_held
from dqt.train.trainer import Trainer

MAY_DIFFER = {"checkpoint_steps", "checkpoint_minutes", "workers", "accelerator", "devices", "strategy", "batch_size"}
"""Fields of a recipe that a resumed run may change; the samples of a training step, over all processes, may not."""


@dataclass(frozen=True)
class History:
    """What a run did.

    Attributes:
        rows: one for each epoch, plain JSON values: ``epoch``, ``step``, ``lr``, ``losses`` (mean loss by pass),
            ``share`` (mean BitOPs share of the choices, or None), ``accuracy`` (top-1 in [0, 1] of the exact network by
            plan, and ``auto_share``; empty where nothing was validated), ``warnings``, ``seconds``. Other tasks than
            classification have ``scores`` in the place of ``accuracy``, and ``metric``, its name.
        run_dir: where checkpoints are, or None.
    """

    rows: tuple[dict[str, Any], ...]
    run_dir: Path | None = None

    @property
    def accuracy(self) -> dict[str, float]:
        """The last validated accuracy by plan, or the metric of another task; empty without validation."""
        return self.scores

    @property
    def scores(self) -> dict[str, float]:
        """The last validated metric by plan; empty without validation."""
        return next((scores_of(row) for row in reversed(self.rows) if scores_of(row)), {})


@torch.enable_grad()
@outside_inference_mode
def fit(
    net: Net,
    train: Data,
    valid: Data | None = None,
    recipe: Recipe | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    run: Run | None = None,
    teacher: nn.Module | None = None,
    task: GivenTask | None = None,
    progress: bool = True,
) -> History:
    """Train ``net`` in place.

    A network that is not calibrated is calibrated first. The order of samples, augmentation, drawn widths and noise
    follow ``recipe.seed`` alone. Warnings of known failures go to the logger ``dqt.train``.

    Args:
        train: a data set of :mod:`dqt.train.data`, a torch Dataset or DataLoader of (input, target) pairs, or a pair of
            tensors; a dict or tuple of inputs, where the network takes several.
        valid: as ``train``; without it nothing is validated and no ``best.ckpt`` is written.
        recipe: default ``run.recipe``, or ``Recipe()``.
        run_dir: gets ``last.ckpt``, ``best.ckpt`` (best mean of the metric over the validated plans),
            ``history.jsonl`` and ``tensorboard``; None: nothing is written.
        resume: go on from ``run_dir/last.ckpt``.
        teacher: with ``recipe.teacher = "float"``, the float network, inputs to logits. It is put in evaluation mode.
        task: what the network is for, see :class:`dqt.Task`; default: that of ``run``, or classification.
        run: the run file's content, kept in checkpoints so that they can be rebuilt without this program.

    Raises:
        DataError, RecipeError: data or recipe that do not fit. CheckpointError: a checkpoint that cannot be read or
            written, nothing to resume, or a folder that holds a run already or in which another one trains.
        TrainingError: a loss that is not finite. Stopped: interrupted (Ctrl-C, SIGTERM) and saved.
    """
    net = prepared(net, "dqt.fit")
    recipe = given_recipe(run.recipe if recipe is None and run else recipe)
    _check_teacher(recipe, teacher)
    fabric = make_fabric(recipe)
    folder = None if run_dir is None else Path(run_dir)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    writes = folder if fabric.is_global_zero and not (resume and folder and not folder.exists()) else None
    with locked(writes), torch.random.fork_rng(devices=devices):
        checkpoint = _checkpoint(folder, resume, recipe)
        task = task_of_run(run) if task is None and run else task
        trainer = Trainer(fabric, net, source_of(train, recipe), recipe, checkpoint, run, teacher, task)
        try:
            if valid is not None:
                trainer.valid = source_of(valid, recipe)
                check_held(net, trainer.task, trainer.valid)
            trainer.run_dir = folder
            with stop_flag() as trainer.flag:  # before this there is nothing to save: a signal ends it at once
                trainer.train(progress)
        finally:
            trainer.modes.restore()
    return History(tuple(trainer.record.rows), folder)


def _check_teacher(recipe: Recipe, teacher: Any) -> None:
    if recipe.learn == "controller":
        raise RecipeError('recipe.learn is "controller": call dqt.train.gains.fit_controller')
    if (recipe.teacher == "float") != (teacher is not None):
        raise RecipeError(
            f"recipe.teacher is {recipe.teacher!r}: pass fit(teacher=...), a float module, with 'float' only"
        )
    if teacher is not None and not isinstance(teacher, nn.Module):
        raise RecipeError(f"the teacher is an object of type {type(teacher).__name__}: pass a float module")


def _checkpoint(folder: Path | None, resume: bool, recipe: Recipe) -> Checkpoint | None:
    if resume:
        if folder is None:
            raise CheckpointError("resume needs run_dir, the folder of the run to go on with")
        checkpoint = Checkpoint.load(folder / LAST)
        now = recipe.model_dump(mode="json")
        before = Recipe().model_dump(mode="json") | checkpoint.recipe  # a key younger than the checkpoint: its default
        changed = [k for k in now if k not in MAY_DIFFER and now[k] != before[k]]
        if changed:
            what = ", ".join(f"{k} {before[k]!r} -> {now[k]!r}" for k in changed)
            raise CheckpointError(f"{folder / LAST}: the recipe has changed ({what}): use the old one, or a new folder")
        return checkpoint
    if folder is not None and (folder / LAST).exists():
        raise CheckpointError(f"{folder} already holds a run: resume it, or choose another folder")
    return None
