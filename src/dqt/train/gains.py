"""The controller alone, for a network that is trained already: what each sample gains by more bits is measured once.

Training both at once costs as much as the network itself, and the choice sees only how the loss leans at the widths it
took. With the network fixed, the losses of every sample at every width are a table, and what the controller reads is a
small vector: then the expected loss of a choice is exact, and an epoch takes seconds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from rich.progress import track
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional as F

from dqt.arith.plan import AUTO, Plan
from dqt.nn.calibrate import set_controller_ranges
from dqt.nn.controller import LOGITS, NORM
from dqt.nn.controller_alone import controller_features, controller_logits, controller_parameters
from dqt.nn.guards import outside_inference_mode, prepared
from dqt.nn.modes import evaluating
from dqt.nn.net import Net
from dqt.nn.run import first_widths
from dqt.program.task import CLASSIFICATION, GivenTask
from dqt.train.answers import named
from dqt.train.build import task_of_run
from dqt.train.checkpoint import LAST, Checkpoint, CheckpointError, write_atomically
from dqt.train.fit import History
from dqt.train.lock import locked
from dqt.train.loss import cost_penalty, expected_share, temperature
from dqt.train.losses import Loss
from dqt.train.processes import Stopped, stop_flag
from dqt.train.recipe import Recipe, RecipeError, Run, given_recipe
from dqt.train.record import scores_entry
from dqt.train.schedule import optimizer_of, set_rate
from dqt.train.seeds import permutation
from dqt.train.settle import held_features, settle
from dqt.train.sources import Data, Source, source_of
from dqt.train.state import info_of, shape_of
from dqt.train.structures import count, mapped, moved
from dqt.train.targets import check_held, targets_for, task_of_net
from dqt.train.validate import accuracies, batches_of, evaluate

Judge = Callable[[Any, Any], Any]
"""Inputs float ``[N, ...]`` and a width, or a plan, to the fixed network's answer, such as logits ``[N, classes]``."""

Table: TypeAlias = dict[str, Tensor]
"""The two tensors of :class:`Gains` by name, for some of the samples."""

WORST = 5.0
"""A loss counts no more than this: a few hopeless samples would outweigh all that can be helped."""


@dataclass(frozen=True, eq=False)
class Gains:
    """What was measured: ``features`` float ``[M, F]`` that the controller reads, ``losses`` float ``[M, choices]``."""

    features: Tensor
    losses: Tensor


@torch.enable_grad()
@outside_inference_mode
def fit_controller(
    net: Net,
    train: Data,
    valid: Data | None = None,
    recipe: Recipe | None = None,
    *,
    judge: Judge | None = None,
    run_dir: str | Path | None = None,
    run: Run | None = None,
    task: GivenTask | None = None,
    progress: bool = True,
) -> History:
    """Train the controller of ``net`` in place, from the beginning; everything else stays as it is, to the bit.

    Every sample is measured at every uniform choice, ``recipe.measured`` times with new augmentation; the controller
    then minimizes the expected loss plus ``recipe.beta`` times the cost's distance from ``recipe.bitops``. All layers
    of a sample get one width. A controller that decides late learns how much less each choice loses than the first, and
    is then held to the budget: on ``valid``, or else on what was measured, a price on BitOPs is found at which the
    choices that gain most cost ``recipe.bitops``.

    Args:
        judge: the fixed network; default: ``net`` itself, exact, which is slow beside a ``dqt.Runtime``.
        task: as of :func:`dqt.fit`.
        run_dir: gets the measurements as they are made (an interrupted call goes on from them) and ``last.ckpt``.

    Raises:
        RecipeError: the network has no controller, or a target out of its reach. DataError: data that do not fit.
        CheckpointError: the folder holds a finished run. Stopped: interrupted while measuring; what was measured is
            kept in ``run_dir``.
    """
    net = prepared(net, "fit_controller")
    recipe = given_recipe(run.recipe if recipe is None and run else recipe)
    if not net.space.choices:
        raise RecipeError("the network has no controller: set Config.controller")
    folder = None if run_dir is None else Path(run_dir)
    loss = Loss(net, task_of_net(net, task_of_run(run) if task is None and run else task))
    with locked(folder):
        return _fit_controller(loss, train, valid, recipe, judge or _exact(net), folder, run, progress)


def _fit_controller(
    loss: Loss,
    train: Data,
    valid: Data | None,
    recipe: Recipe,
    judge: Judge,
    folder: Path | None,
    run: Run | None,
    progress: bool,
) -> History:
    if folder is not None and (folder / LAST).exists():
        raise CheckpointError(f"{folder} already holds a run: choose another folder")
    net, source = loss.net, source_of(train, recipe)
    check_held(net, loss.task, source)
    began = time.monotonic()
    with evaluating(net):
        _begin_anew(net, source, recipe)
        gains = _measured(loss, source, recipe, judge, folder, progress)
        rows = learn(loss, gains, recipe)
        if net.late is not None:
            held = gains.features if valid is None else held_features(net, source_of(valid, recipe))
            settle(net, held, recipe)
        if valid is not None:
            plans = (AUTO,)
            scored = evaluate(net, source_of(valid, recipe), plans, _device(net), task=loss.task)
            rows[-1].update(scores_entry(loss.task, accuracies(scored, plans)))
    rows[-1]["seconds"] = round(time.monotonic() - began - sum(row["seconds"] for row in rows[:-1]), 3)
    if folder is not None:
        _checkpoint(loss, recipe, run, source, rows).save(folder / LAST)
    return History(tuple(rows), folder)


def _device(net: Net) -> torch.device:
    return next(net.parameters()).device


def _exact(net: Net) -> Judge:
    return lambda x, b: named(net, net.tensors(x, b, exact=True))


def _begin_anew(net: Net, source: Source, recipe: Recipe) -> None:
    """All layers' logits alike, so that they learn alike, and ranges from data."""
    logits = net.layer(LOGITS)
    assert logits.bias is not None
    with torch.no_grad():
        rows = len(net.space.choices)
        for parameter in (logits.weight, logits.bias):
            parameter.copy_(parameter[:rows].repeat(len(parameter) // rows, *([1] * (parameter.dim() - 1))))
        logits.clip.copy_(logits._largest())
    order = permutation(len(source), recipe.seed, "calibrate")
    indices = batches_of(order, source.batch_size)[: recipe.calibration_batches]
    set_controller_ranges(net, [x.to(_device(net)) for x, _ in source.batches(indices)])


# measuring


def _measured(loss: Loss, source: Source, recipe: Recipe, judge: Judge, folder: Path | None, progress: bool) -> Gains:
    made: list[Table] = []
    mark = _fingerprint(loss, source, recipe)
    with stop_flag() as flag:
        for copy in range(recipe.measured):
            path = None if folder is None else folder / f"gains-{copy}-{mark}.safetensors"
            part = None if folder is None else folder / f"gains-{copy}-{mark}.part"
            if path is not None and path.exists():
                made.append(load_file(path))
                continue
            parts = [load_file(part)] if part is not None and part.exists() else []
            done = sum(len(each["losses"]) for each in parts)
            for each in _parts(loss, source, recipe, judge, copy, done, progress):
                parts.append(each)
                if flag.raised:
                    _save(_joined(parts), part)
                    raise Stopped(f"stopped while measuring copy {copy + 1} of {recipe.measured}: call it again")
            made.append(_joined(parts))
            _save(made[-1], path)
            if part is not None:
                part.unlink(missing_ok=True)
    joined = _joined(made)
    losses = joined["losses"]
    worst = WORST if loss.task.loss == "cross entropy" else WORST * float(losses.mean())
    return Gains(joined["features"], losses.clamp(max=worst))


def _fingerprint(loss: Loss, source: Source, recipe: Recipe) -> str:
    """Of all that a measurement depends on: what was measured on another network is not taken for this one's."""
    net = loss.net
    usual = () if loss.task.name == CLASSIFICATION else (loss.task.name, loss.name)
    digest = hashlib.sha256(repr((recipe.seed, len(source), _size(source), net.space.choices, *usual)).encode())
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _size(source: Source) -> int:
    """Samples that are measured together."""
    return max(source.batch_size, 256)


def _joined(parts: list[Table]) -> Table:
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _save(table: Table, path: Path | None) -> None:
    if path is not None:
        write_atomically(path, save(table))


def _parts(
    loss: Loss, source: Source, recipe: Recipe, judge: Judge, copy: int, done: int, progress: bool
) -> Iterator[Table]:
    """What follows the first ``done`` samples, a whole number of batches or all of them, batch by batch."""
    net, indices = loss.net, batches_of(torch.arange(len(source)), _size(source))
    seeds = [(recipe.seed, "gains", copy, i) for i in range(len(indices))]
    plans = choice_plans(net)
    first = -(-done // _size(source))
    batches = track(
        source.batches(indices[first:], seeds[first:]),
        f"measuring {copy + 1}/{recipe.measured}",
        len(indices) - first,
        disable=not progress,
    )
    for samples, (x, given) in zip(indices[first:], batches, strict=True):
        y = moved(targets_for(net, loss.task, given, count(x), samples), "cpu")
        with torch.no_grad():
            features = controller_features(net, moved(x, _device(net))).cpu()
            losses = [loss.each(mapped(_plain, judge(x, plan)), y).float() for plan in plans]
        yield {"features": features, "losses": torch.stack(losses, 1)}


def choice_plans(net: Net) -> list[int | Plan]:
    """What each choice runs at: a uniform width, or behind the part that runs before a late decision."""
    late, choices = net.late, net.space.choices
    if late is None or late.again:
        return list(choices)
    fixed = first_widths(net.space, late.first)
    return [Plan.of({name: b if name in late.layers else fixed[name] for name in net.space.names}) for b in choices]


def _plain(answer: Tensor) -> Tensor:
    return answer.cpu().float()


# learning


def learn(loss: Loss, gains: Gains, recipe: Recipe) -> list[dict[str, Any]]:
    """Epochs over the table, a row each. The choice is soft at first and hardens; its cost is that of the hard one.

    The gains that a late controller learns know nothing of a budget: see :mod:`dqt.train.settle`.
    """
    net = loss.net
    before = [(parameter, parameter.requires_grad) for parameter in net.parameters()]
    norm = net.norm(NORM)
    assert norm is not None
    net.requires_grad_(False)
    for parameter in controller_parameters(net):
        parameter.requires_grad_(True)
    norm.train()  # of all norms, the controller's alone learns
    try:
        return [row | scores_entry(loss.task, {}) for row in _epochs(net, gains, recipe)]
    finally:
        norm.eval()
        for parameter, flag in before:
            parameter.requires_grad_(flag)


def _epochs(net: Net, gains: Gains, recipe: Recipe) -> Iterator[dict[str, Any]]:
    optimizer = optimizer_of(net, recipe)
    samples, size = len(gains.losses), min(recipe.batch_size, len(gains.losses))
    per_epoch = samples // size
    total = recipe.epochs * per_epoch
    device = _device(net)
    for epoch in range(recipe.epochs):
        began, loss, share = time.monotonic(), 0.0, 0.0
        order = permutation(samples, recipe.seed, "order", epoch)
        for i, index in enumerate(batches_of(order, size)[:per_epoch]):
            step = epoch * per_epoch + i
            lr = set_rate(optimizer, recipe, step, total)
            logits = controller_logits(net, gains.features[index].to(device), training=True)
            soft = F.softmax(logits.mean(1, keepdim=True) / temperature(recipe, step, total), -1)  # layers are one
            losses = gains.losses[index].to(device)
            expected = (soft[:, 0] * losses).sum(1).mean()
            widths = torch.tensor(net.space.choices, device=device)[soft.argmax(-1)]
            columns = len(net.late.layers) if net.late else logits.shape[1]
            paid = expected_share(net.space, soft.expand(-1, columns, -1), widths.repeat(1, columns), net.late)
            penalty = recipe.beta * cost_penalty(net.space, paid, recipe, net.late)
            wrong = expected + penalty if net.late is None else _off(logits[:, 0], losses)
            optimizer.zero_grad()
            torch.autograd.backward(wrong)
            optimizer.step()
            loss, share = loss + float(expected.detach()) / per_epoch, share + float(paid.detach()) / per_epoch
        yield {
            "epoch": epoch + 1,
            "step": (epoch + 1) * per_epoch,
            "lr": lr,
            "share": share,
            "losses": {AUTO: loss},
            "warnings": [],
            "seconds": round(time.monotonic() - began, 3),
        }


def _off(logits: Tensor, losses: Tensor) -> Tensor:
    """How far ``logits`` are, squared, from what each choice loses less than the first, both ``[N, choices]``."""
    return F.mse_loss(logits, losses[:, :1] - losses)


def _checkpoint(loss: Loss, recipe: Recipe, run: Run | None, source: Source, rows: list[dict[str, Any]]) -> Checkpoint:
    net, steps = loss.net, rows[-1]["step"]
    return Checkpoint(
        run=run.as_dict() if run else None,
        recipe=recipe.model_dump(mode="json"),
        net=net.state_dict(),
        average=None,
        optimizer={},
        precision={},
        epoch=recipe.epochs,
        step=steps,
        steps_per_epoch=steps // recipe.epochs,
        totals={"sums": {}, "warnings": []},
        history=rows,
        watch={},
        shape=shape_of(net),
        info=info_of(source.info, loss.task),
    )
