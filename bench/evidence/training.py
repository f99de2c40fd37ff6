"""From a recipe to a trained run folder, and from a run folder to its network. No path enters a record."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import dqt
from bench.common import machine
from bench.evidence.records import RecordError, Training, commit
from dqt.arith.files import write_file
from dqt.nn.net import Net
from dqt.train.build import load_data, network, rebuild, teacher
from dqt.train.checkpoint import BEST, LAST, Checkpoint
from dqt.train.data import Splits
from dqt.train.fit import MAY_DIFFER, fit
from dqt.train.gains import Judge, fit_controller
from dqt.train.processes import keep_freed_memory
from dqt.train.recipe import Run, load_run, run_from

RECIPES = Path(__file__).parent / "recipes"
FLOATS = RECIPES / "float"
MEASURES, BASE = "measures.toml", "measure-base"
"""Recipes that stand in one file, as changes of another."""
STARTED = "started.json"
PREFIX = "data/"
RUNS = "runs/"


@dataclass(frozen=True)
class Place:
    """What a run is and where its things are on this machine.

    Attributes:
        run: the run file's content, with the seed.   data, weights: what stands for ``data/`` and for the weights.
        folder: of the run.   runs: what stands for ``runs/`` in a checkpoint that the run starts from.
    """

    name: str
    run: Run
    data: Path
    weights: Path | None
    folder: Path
    runs: Path

    def located(self) -> Run:
        """The run with this machine's paths."""
        kind, _, path = self.run.data.spec.partition("=")
        spec = f"{kind}={self._under(path)}" if path else kind
        model = self.run.model
        if model.weights:
            model = model.model_copy(update={"weights": str(self.weights or self._under(model.weights))})
        if model.checkpoint:
            model = model.model_copy(update={"checkpoint": str(self.start)})
        data = self.run.data.model_copy(update={"spec": spec})
        located = {"data": data, "model": model}
        teacher = self.run.teacher
        if teacher is not None and teacher.weights:
            located["teacher"] = teacher.model_copy(update={"weights": str(self._under(teacher.weights))})
        return self.run.model_copy(update=located)

    @property
    def start(self) -> Path | None:
        """The checkpoint that the run starts from."""
        path = self.run.model.checkpoint
        return None if path is None else self.runs / path.removeprefix(RUNS)

    def splits(self) -> Splits:
        """Training, held-out and test images."""
        return load_data(self.located())

    def _under(self, path: str) -> Path:
        return self.data / path.removeprefix(PREFIX) if path.startswith(PREFIX) else Path(path)


def names(recipes: Path = RECIPES) -> list[str]:
    """The recipes."""
    return sorted([*(path.stem for path in recipes.glob("*.toml") if path.name != MEASURES), *_changes(recipes)])


def _changes(recipes: Path) -> dict[str, dict[str, dict[str, Any]]]:
    path = recipes / MEASURES
    return tomllib.loads(path.read_text()) if path.exists() else {}


def run_of(recipe: str, recipes: Path = RECIPES) -> Run:
    """The run of a recipe's name, one of those in the folder ``recipes``, or of a run file.

    Raises:
        RecordError: no such recipe. RecipeError: not a run file.
    """
    changes = _changes(recipes).get(recipe)
    if changes is not None:
        base = load_run(recipes / f"{BASE}.toml").as_dict()
        return run_from({key: part | changes[key] if key in changes else part for key, part in base.items()}, recipe)
    path = Path(recipe) if recipe.endswith(".toml") else recipes / f"{recipe}.toml"
    if not path.exists():
        raise RecordError(f"no recipe {recipe!r}; there are {', '.join(names(recipes))}, or give a .toml file")
    return load_run(path)


def place(
    recipe: str,
    seed: int | None,
    data: Path,
    weights: Path | None,
    folder: Path | None,
    runs: Path,
    recipes: Path = RECIPES,
) -> Place:
    """What :func:`run_of` finds, with a seed and with the places of its things."""
    run, name = run_of(recipe, recipes), Path(recipe).stem if recipe.endswith(".toml") else recipe
    if seed is not None:
        run = run.model_copy(update={"recipe": run.recipe.model_copy(update={"seed": seed})})
    own = f"{'float-' if recipes == FLOATS else ''}{name}-s{run.recipe.seed}"  # a name may be of both kinds
    return Place(name, run, data, weights, folder or runs / own, runs)


def train(where: Place) -> None:
    """Train, or go on from the folder's last checkpoint; nothing where the run is complete."""
    last = where.folder / LAST
    if last.exists():
        held = Checkpoint.load(last)
        check_run(where, held.run)
        if held.epoch >= where.run.recipe.epochs:
            return
    keep_freed_memory()
    run = where.located()
    splits = load_data(run)
    net = network(run, splits.train.shape)
    resume = last.exists()
    note_start(where, resume)
    places: dict[str, Any] = {"run_dir": where.folder, "run": run, "progress": False}
    if run.recipe.learn == "controller":
        fit_controller(net, splits.train, judge=_judge(net), **places)  # nothing is chosen
    else:
        fit(net, splits.train, splits.valid, teacher=teacher(run), resume=resume, **places)


def _judge(net: Net) -> Judge:
    run = dqt.Runtime(dqt.lower(net))
    return lambda x, b: torch.from_numpy(run(x.contiguous().numpy(), b))


def note_start(where: Place, resume: bool) -> None:
    """Write down where and from what the run is started or resumed."""
    gpu = {"accelerator": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    note: dict[str, Any] = {"commit": commit(), "machine": machine() | gpu, "resumed": resume}
    if where.start:
        note["start"] = {"run": where.start.parent.name, "sha256": hashlib.sha256(where.start.read_bytes()).hexdigest()}
    where.folder.mkdir(parents=True, exist_ok=True)
    write_file(where.folder / STARTED, json.dumps([*started(where), note], indent=1), "\n")


def started(where: Place) -> list[dict[str, Any]]:
    """Where and from what the run was started and resumed; empty where nobody wrote it down."""
    path = where.folder / STARTED
    return list(json.loads(path.read_text())) if path.exists() else []


def check_run(where: Place, held: dict[str, Any] | None) -> None:
    """The folder's run, ``held`` in its checkpoint, is the recipe's, but for paths and for what cannot change a result;
    a key that is younger than the checkpoint has its default there.

    Raises:
        RecordError: names what differs.
    """
    if held is None:
        raise RecordError(f"{where.folder}: its checkpoint names no run file: train it with bench.evidence run")
    mine, theirs = (_comparable(run.as_dict()) for run in (where.run, run_from(held, str(where.folder))))
    wrong = [f"{key} {theirs.get(key)!r}, not {mine.get(key)!r}" for key in mine if theirs.get(key) != mine.get(key)]
    if wrong:
        raise RecordError(f"{where.folder}: not a run of {where.name}: {'; '.join(wrong)}: name its recipe and seed")


def _comparable(run: dict[str, Any]) -> dict[str, Any]:
    parts = {part: entries if isinstance(entries, dict) else {"": entries} for part, entries in run.items()}
    flat = {f"{part}.{key}": value for part, entries in parts.items() for key, value in entries.items()}
    flat["data.spec"] = flat["data.spec"].partition("=")[0]
    for key in ("model.weights", "model.checkpoint", "teacher.weights"):
        flat[key] = flat.get(key) is not None
    return {key: value for key, value in flat.items() if key.removeprefix("recipe.") not in MAY_DIFFER}


@dataclass(frozen=True, eq=False)
class Trained:
    """A run's network, which checkpoint it is, and its training so far."""

    net: Net
    info: dict[str, Any]
    checkpoint: dict[str, Any]
    training: Training


def trained(where: Place, at: str | None = None) -> Trained:
    """The best checkpoint on the held-out images, or the last where none was validated; ``at``: the commit that it
    was trained at, for a folder that does not say.

    Raises:
        CheckpointError: no checkpoint. RecordError: of another recipe.
    """
    last = Checkpoint.load(where.folder / LAST)
    check_run(where, last.run)
    path = where.folder / (BEST if (where.folder / BEST).exists() else LAST)
    net, held = rebuild(path)
    rows = last.history
    validation = tuple({"epoch": row["epoch"], **row["accuracy"]} for row in rows if row["accuracy"])
    notes = started(where) or ([{"commit": at}] if at else [])
    training = Training(
        epochs=where.run.recipe.epochs,
        epochs_done=last.epoch,
        seconds=round(sum(row["seconds"] for row in rows), 1),
        started=tuple(notes),
        validation=validation,
        warnings=sum(len(row["warnings"]) for row in rows),
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Trained(net, held.info, {"file": path.name, "epoch": held.epoch, "sha256": digest}, training)
