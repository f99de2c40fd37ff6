"""Models that a command names: by Python name, exported, from a run file, or trained; with data to look at them on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqt.arith.errors import InputError
from dqt.cli.inputs import checkpoint_of, rooted, widths_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dqt.nn.config import Config
    from dqt.train.recipe import Run

EXPORTED, RUN_FILE, CHECKPOINT = ".pt2", ".toml", ".ckpt"
RANDOM = 8
"""Samples of random numbers, where there is no data."""


@dataclass(frozen=True)
class Asked:
    """What the command line says: see ``dqt doctor --help``."""

    model: str
    data: str | None
    shapes: tuple[str, ...]
    weights: Path | None
    widths: str | None
    samples: int
    root: Path | None


@dataclass(frozen=True)
class Patient:
    """A model, what it is called with, and data: of a calibrated network, these alone."""

    model: nn.Module
    example: Any
    batches: list[Any] | None
    config: Config | None = None


def patient_of(asked: Asked) -> Patient:
    """The model that is asked about, and its data.

    Raises:
        InputError: no data and no shapes, or shapes that are none.   RecipeError, CheckpointError, DataError: see
            :func:`dqt.train.build.float_model`, :func:`dqt.train.build.rebuild`, :func:`dqt.train.build.load_splits`.
    """
    path = Path(asked.model)
    if path.is_dir() or path.suffix == CHECKPOINT:
        return _trained(path, asked)
    if path.suffix == EXPORTED:
        return _exported(path, asked)
    if ":" in asked.model:
        return _named(asked)
    return _of_run(_run(asked.model), asked)


def _run(name: str) -> Run:
    from dqt.cli.train import find_recipe
    from dqt.train.recipe import load_run

    path = find_recipe(name)
    if path.suffix != RUN_FILE and not path.exists():
        raise InputError(
            f"{name}: no such file; a model is package.module:name, file.py:name, an exported program (.pt2), a run "
            "file (.toml) or the folder of a run"
        )
    return load_run(path)


def _of_run(run: Run, asked: Asked) -> Patient:
    """The float model of a run file, on the run's data."""
    from dqt.train.build import float_model

    given = {"weights": str(asked.weights)} if asked.weights else {}
    model = float_model(run.model.model_copy(update=given))
    config = _config(asked) or run.network
    return _with_data(model, run.data.spec if asked.data is None else asked.data, asked, config, run)


def _named(asked: Asked) -> Patient:
    """A model in Python, or what makes one."""
    from torch import nn

    from dqt.program.named import named_object
    from dqt.train.build import float_model, with_weights
    from dqt.train.recipe import FloatPart, RecipeError

    held = named_object(asked.model, f"model {asked.model!r}", RecipeError)
    weights = str(asked.weights) if asked.weights else None
    if isinstance(held, nn.Module):
        model = with_weights(held, weights)
    else:
        model = float_model(FloatPart(factory=asked.model, weights=weights))
    return _with_data(model, asked.data, asked, _config(asked))


def _exported(path: Path, asked: Asked) -> Patient:
    """A program of torch.export, which remembers its example."""
    import torch

    try:
        program = torch.export.load(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: not a program of torch.export that can be read: {error}") from None
    model = program.module()
    if asked.data is not None or asked.shapes:
        return _with_data(model, asked.data, asked, _config(asked))
    if program.example_inputs is None:
        raise InputError(f"{path}: holds no example inputs: give DATA or --shape 3x224x224")
    args, kwargs = program.example_inputs
    return Patient(model, kwargs or args, None, _config(asked))


def _trained(path: Path, asked: Asked) -> Patient:
    """The network of a checkpoint, on the data that it was trained with."""
    from dqt.train.build import rebuild
    from dqt.train.recipe import run_from

    if asked.shapes or asked.weights or asked.widths:
        raise InputError(f"{path}: a trained network has its own --shape, --weights and --widths: leave them out")
    net, held = rebuild(checkpoint_of(path))
    run = run_from(held.run or {}, str(path))
    spec = run.data.spec if asked.data is None else asked.data
    return Patient(net, None, _batches(spec, asked, run))


def _with_data(
    model: nn.Module, spec: str | None, asked: Asked, config: Config | None, run: Run | None = None
) -> Patient:
    """A model on data, or on random numbers where only shapes are given."""
    if asked.shapes and asked.data is None:
        example = tuple(_random(text) for text in asked.shapes)
        return Patient(model, example if len(example) > 1 else example[0], None, config)
    if spec is None:
        raise InputError("no data to look at the model on: give DATA, such as npz=FILE, or --shape 3x224x224")
    batches = _batches(spec, asked, run)
    return Patient(model, batches[0][:2], batches, config)


def _config(asked: Asked) -> Config | None:
    if asked.widths is None:
        return None
    from dqt.nn.config import Config

    widths = tuple(sorted(widths_of(asked.widths, "--widths")))
    return Config(master=widths[-1], widths=widths)


def _random(text: str) -> Tensor:
    """Samples of ``3x224x224``, normal; of ``128:30522``, integers below that; of ``:1000``, one integer each."""
    import torch

    shape, _, below = text.partition(":")
    try:
        sizes = [int(part) for part in shape.split("x")] if shape or not below else []
        most = int(below) if below else 0
        if any(size < 1 for size in sizes) or (below and most < 1):
            raise ValueError
    except ValueError:
        raise InputError(f"--shape {text!r}: need sizes such as 3x224x224, or 128:30522 of integers") from None
    rng = torch.Generator().manual_seed(0)
    return torch.randint(most, (RANDOM, *sizes), generator=rng) if most else torch.randn(RANDOM, *sizes, generator=rng)


def _batches(spec: str, asked: Asked, run: Run | None) -> list[Tensor]:
    """A fixed draw of the training samples, without their labels."""
    import torch

    from dqt.train.build import load_splits
    from dqt.train.pictures import PictureSet
    from dqt.train.recipe import DataPart, ModelPart, Run
    from dqt.train.seeds import permutation

    part = DataPart(spec=spec) if run is None else run.data.model_copy(update={"spec": spec})
    named = Run(model=ModelPart(factory="a:b"), data=part) if run is None else run.model_copy(update={"data": part})
    data: Any = load_splits(rooted(named, asked.root)).train
    if isinstance(data, PictureSet):
        from dataclasses import replace

        data = replace(data, random=False)
    order = permutation(len(data), 0, "doctor")[: asked.samples]
    return [data.batch(some)[0] for some in torch.split(order, 64)]
