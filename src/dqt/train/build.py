"""From a run, or from its checkpoint, to its prepared network: the float model, its weights, ``prepare``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from dqt.data.pictures import USUAL_CROP, USUAL_RESIZE
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.program.named import named_object, named_task, raised
from dqt.program.task import CLASSIFICATION, Task
from dqt.train.checkpoint import Checkpoint, CheckpointError, restore, start_from
from dqt.train.data import ArraySplits, Augment, Splits, load, load_any
from dqt.train.pictures import PictureSplits, load_pictures
from dqt.train.recipe import FloatPart, RecipeError, Run, run_from


def load_data(run: Run) -> Splits:
    """The images of a run.

    Raises:
        DataError: see :func:`dqt.train.data.load`.
    """
    return load(run.data.spec, **_how(run))


def load_splits(run: Run) -> Splits | ArraySplits | PictureSplits:
    """The data of a run: images or other arrays in memory, or pictures that are read one by one.

    Raises:
        DataError: see :func:`dqt.train.data.load_any`.
    """
    part = run.data
    if part.spec.startswith("imagefolder="):  # it does not have to fit into memory
        crop = part.size or USUAL_CROP
        resize = part.resize or round(crop * USUAL_RESIZE / USUAL_CROP)
        return load_pictures(part.spec, valid=part.valid, crop=crop, resize=resize)
    return load_any(part.spec, **_how(run))


def _how(run: Run) -> dict[str, Any]:
    part, task = run.data, task_of_run(run)
    replaced = part.pad is not None or part.flip is not None
    augment = Augment(part.pad or 0, bool(part.flip)) if replaced else None
    return {"valid": part.valid, "augment": augment, "classes": task is None or task.name == CLASSIFICATION}


def float_model(part: FloatPart, section: str = "model") -> nn.Module:
    """The float network of a run file's section with its weights, freshly initialized where it names none.

    Raises:
        RecipeError: a factory that cannot be found or called, or weights that are not the model's.
    """
    where = f"{section}.factory {part.factory!r}"
    factory = named_object(part.factory, where, RecipeError)
    if not callable(factory):
        raise RecipeError(f"{where}: a {type(factory).__name__}, which cannot be called")
    try:
        inspect.signature(factory).bind(**part.args)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{section}.args: {part.factory} does not take {part.args}: {error}") from None
    try:
        model = factory(**part.args)
    except MemoryError:
        raise
    except Exception as error:  # whatever it raises
        raise RecipeError(f"{section}.factory {part.factory!r} raised {raised(error)}") from error
    if not isinstance(model, nn.Module):
        raise RecipeError(f"{section}.factory {part.factory!r}: returned a {type(model).__name__}, not an nn.Module")
    return with_weights(model, part.weights, section)


def with_weights(model: nn.Module, weights: str | None, section: str = "model") -> nn.Module:
    """``model`` with the state of a ``.safetensors`` file, if one is given.

    Raises:
        RecipeError: it cannot be read, or holds other tensors than the model.
    """
    if weights:
        _load_weights(model, Path(weights).expanduser(), section)
    return model


def example(shape: Sequence[int] | Mapping[str, Any]) -> tuple[Any, ...]:
    """Two samples of zeros to prepare a network with.

    Args:
        shape: of one input of floats; or, by name, ``{"shape": ..., "kind": "float" or "integer"}`` of each.
    """
    if not isinstance(shape, Mapping):
        return (torch.zeros(2, *shape),)
    kinds = {"float": torch.float32, "integer": torch.int64}
    made = {name: torch.zeros(2, *each["shape"], dtype=kinds[each["kind"]]) for name, each in shape.items()}
    return (made,) if len(made) > 1 else tuple(made.values())


def network(run: Run, shape: Sequence[int] | Mapping[str, Any]) -> Net:
    """The prepared, untrained network of a run for samples of ``shape``; its initial weights follow ``recipe.seed``.

    Raises:
        RecipeError: see :func:`float_model`. UnsupportedError: what cannot be quantized. CheckpointError: see
            :func:`dqt.train.checkpoint.start_from`.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(run.recipe.seed)
        model = float_model(run.model)
        net = prepare(model, example(shape), run.network)
    if run.model.checkpoint:
        start_from(net, Path(run.model.checkpoint).expanduser())
    return net


def teacher(run: Run) -> nn.Module | None:
    """The float network that the run learns from, where its recipe asks for one.

    Raises:
        RecipeError: see :func:`float_model`; or it has no trained weights.
    """
    if run.recipe.teacher != "float":
        return None
    section, part = ("model", run.model) if run.teacher is None else ("teacher", run.teacher)
    if part.weights is None:
        raise RecipeError(f'recipe.teacher "float" needs trained float weights: set {section}.weights')
    return float_model(part, section).eval()


def task_of_run(run: Run) -> Task | None:
    """The task that a run names; None: the usual one.

    Raises:
        TaskError: see :func:`dqt.program.named.named_task`.
    """
    return None if run.task is None else named_task(run.task)


def _load_weights(model: nn.Module, path: Path, section: str) -> None:
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise RecipeError(f"{section}.weights {path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise RecipeError(f"{section}.weights {path}: not a readable safetensors file: {error}") from None
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RecipeError(f"{section}.weights {path}: shapes differ from the model's: {reason}") from None
    missing = [key for key in result.missing_keys if not key.endswith("num_batches_tracked")]
    wrong = [*(f"misses {key}" for key in missing), *(f"has unknown {key}" for key in result.unexpected_keys)]
    if wrong:
        raise RecipeError(f"{section}.weights {path}: {', '.join(wrong[:3])} ({len(wrong)} such names in all)")


def rebuild(path: str | os.PathLike[str]) -> tuple[Net, Checkpoint]:
    """The trained network of a checkpoint that ``dqt train`` wrote, in evaluation mode.

    Raises:
        CheckpointError: see :meth:`Checkpoint.load`; or it names no model factory (``fit`` was called from Python:
            prepare the network there and use :func:`restore`).
    """
    checkpoint = Checkpoint.load(path)
    if checkpoint.run is None:
        raise CheckpointError(
            f"{path}: names no model, because fit() was called without run=...; prepare the network in Python and "
            "use dqt.train.checkpoint.restore(net, Checkpoint.load(path))"
        )
    try:
        run = run_from(checkpoint.run, str(path))
        net = network(_without_weights(run), checkpoint.shape)
    except RecipeError as error:
        raise CheckpointError(f"{path}: its network cannot be built again: {error}") from None
    return restore(net, checkpoint, str(path)).eval(), checkpoint


def _without_weights(run: Run) -> Run:
    return run.model_copy(update={"model": run.model.model_copy(update={"weights": None, "checkpoint": None})})
