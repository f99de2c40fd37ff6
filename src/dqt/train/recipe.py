"""How a network is trained, as a checked and frozen value; and the TOML file that describes a whole run."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from dqt.nn.config import Config
from dqt.program.named import names_object
from dqt.program.task import task_of

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]

SHOWN = 2


class RecipeError(ValueError):
    """A recipe or run file that is not acceptable: which file, which key, what is allowed."""


def given_recipe(recipe: Any) -> Recipe:
    """``recipe``, or the default for ``None``.

    Raises:
        RecipeError: it is anything else.
    """
    if recipe is None:
        return Recipe()
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"the recipe is an object of type {type(recipe).__name__}: pass dqt.Recipe(epochs=5, ...)")
    return recipe


class Recipe(BaseModel):
    """Everything about training that is not the network: optimizer, objective, schedule, and where it runs.

    The objective is ``J = J_task(own) + alpha * sum_b J_task^(b) + beta * J_cost`` (Dynamic Quantization Training,
    arXiv 2508.09176): ``own`` are the controller's widths, or the master's where there is no controller.

    Attributes:
        epochs, batch_size: passes over the data; samples per step of each process.
        learn: ``"all"``; ``"controller"``: the controller alone, for a network that is trained already (see
            :mod:`dqt.train.gains`), with ``measured`` augmented copies of each sample.
        optimizer: ``"sgd"`` (Nesterov, ``momentum``) or ``"adamw"``.
        lr, weight_decay: peak learning rate; decay of the weights (clips, norms and biases have none).
        warmup: part of all steps in which the rate rises linearly; it then falls as a cosine to 0.
        clip_gradient: largest gradient norm; 0: no limit.
        label_smoothing: of the cross entropy.
        alpha: weight of the fixed widths. beta: weight of the cost, with a controller.
        consistency: fixed widths of each step: ``"all"``; ``"sandwich"``: the master, the lowest, and one pass with
            a width drawn at random (where there is a controller, the two take turns beside its pass); or ``"none"``.
        draw: how the random pass of a sandwich draws: one width for all layers, one by layer, or either in turn.
        distill: part of a pass's loss that comes from the teacher's output, 0: labels alone.
        teacher: ``"master"``: the lower widths and the choice learn from the master's own output; ``"float"``: every
            pass learns from the float network as it was, so that training keeps what long float training had found,
            or from the larger one of ``[teacher]``.
        distill_temperature: of the softmax of both outputs.
        bitops: target of the mean BitOPs, as a fraction of the master's. budget: ``"target"`` pulls from both sides,
            ``"limit"`` only from above.
        gumbel_start, gumbel_end: temperature of the controller's soft choice, annealed exponentially.
        settle: last part of training in which the choice has no noise; before, the noise shrinks linearly to 0.
        controller_lr: factor on the learning rate of the controller.
        ema: decay of the running average of the weights that is validated and kept, 0: no average.
        calibration_batches: batches that set the ranges of a network that has none.
        reestimate_batches: batches from which each width's norm statistics are taken anew before validation.
        valid_widths: uniform widths to validate; empty: all. valid_every: epochs between validations.
        checkpoint_steps, checkpoint_minutes: additional checkpoints inside an epoch; 0: none.
        seed: of everything random.
        channels_last: images lie in memory as NHWC where that is safe and faster (:mod:`dqt.train.layout`).
        precision: Fabric's name; fake quantization itself stays float32.
        accelerator, devices, strategy: Fabric's, but for Apple's MPS, which has no float64: "auto" is the CPU there;
            several processes are started by ``torchrun``.
        workers: processes that load a ``torch`` Dataset; sets held in memory need none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    epochs: AtLeastOne = 10
    batch_size: AtLeastOne = 128
    learn: Literal["all", "controller"] = "all"
    measured: AtLeastOne = 2
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.02
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 1e-4
    warmup: Fraction = 0.05
    clip_gradient: NotNegative = 0.0
    label_smoothing: Fraction = 0.0
    alpha: NotNegative = 1.0
    beta: NotNegative = 1.0
    consistency: Literal["all", "sandwich", "none"] = "sandwich"
    draw: Literal["uniform", "layer", "both"] = "both"
    distill: Share = 0.7
    teacher: Literal["master", "float"] = "master"
    distill_temperature: Positive = 2.0
    bitops: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    budget: Literal["target", "limit"] = "target"
    gumbel_start: Positive = 2.0
    gumbel_end: Positive = 0.5
    settle: Fraction = 0.2
    controller_lr: Positive = 1.0
    ema: Fraction = 0.0
    calibration_batches: AtLeastOne = 4
    reestimate_batches: Count = 16
    valid_widths: tuple[int, ...] = ()
    valid_every: AtLeastOne = 1
    checkpoint_steps: Count = 0
    checkpoint_minutes: NotNegative = 10.0
    seed: Count = 0
    channels_last: bool = True
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: AtLeastOne | Literal["auto"] = "auto"
    strategy: Literal["auto", "ddp"] = "auto"
    workers: Count = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.valid_widths)) != len(self.valid_widths):
            raise ValueError(f"valid_widths {self.valid_widths} names a width twice")
        if self.gumbel_end > self.gumbel_start:
            raise ValueError(
                f"gumbel_end {self.gumbel_end} is above gumbel_start {self.gumbel_start}: it must not rise"
            )
        return self


class FloatPart(BaseModel):
    """A float network: ``[teacher]``, and what ``[model]`` shares with it.

    Attributes:
        factory: ``"package.module:name"`` or ``"file.py:name"``, called with ``args``.
        weights: a ``.safetensors`` file of its state dict, or none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factory: Annotated[str, Field(pattern=r"^.+:[A-Za-z_]\w*$")]
    args: dict[str, Any] = Field(default_factory=dict)
    weights: Annotated[str, Field(pattern=r"\.safetensors$")] | None = None


class ModelPart(FloatPart):
    """``[model]``: the network that trains.

    Attributes:
        checkpoint: of a run of the same network, whose state this one starts from; a controller may be new.
    """

    checkpoint: Annotated[str, Field(pattern=r"\.ckpt$")] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weights and self.checkpoint:
            raise ValueError("weights and checkpoint are both given: a network starts from one of them")
        return self


class DataPart(BaseModel):
    """``[data]``: ``spec`` as in :func:`dqt.train.data.load`, and ``valid`` samples that are held out.

    ``flip`` and ``pad`` replace the set's own augmentation where either is given. Of pictures that are read one by one
    (``imagefolder=PATH``, see :mod:`dqt.train.pictures`), ``size`` is what the network sees, 224
    by default, and ``resize`` what the shorter side becomes before the middle is taken, by default 256 for 224.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: str
    valid: Count = 0
    pad: Count | None = None
    flip: bool | None = None
    size: AtLeastOne | None = None
    resize: AtLeastOne | None = None


class Run(BaseModel):
    """A whole training run: the TOML of ``dqt train``, section by section. ``network`` are the fields of ``Config``.

    ``teacher`` is what ``recipe.teacher = "float"`` learns from; without it, ``model`` as it was before training.
    ``task`` is the name of a task, a table of its ``name`` and settings, or ``"file.py:name"``, a :class:`dqt.Task` of
    your own or a function that makes it; without it, classification.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelPart
    data: DataPart
    network: Config = Config()
    recipe: Recipe = Recipe()
    teacher: FloatPart | None = None
    task: str | dict[str, Any] | None = None

    @field_validator("task")
    @classmethod
    def _is_known(cls, task: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
        if task is not None and not names_object(task):
            task_of(task)
        return task

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = [b for b in self.recipe.valid_widths if b not in self.network.widths]
        if unknown:
            raise ValueError(f"recipe.valid_widths {unknown} are not among network.widths {self.network.widths}")
        if self.teacher is not None and self.recipe.teacher != "float":
            raise ValueError(f"teacher: nothing learns from it, because recipe.teacher is {self.recipe.teacher!r}")
        return self

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; :func:`run_from` reads them back."""
        made: dict[str, Any] = self.model_dump(mode="json")
        for part, keys in ((made, ("task",)), (made["data"], ("size", "resize"))):
            for key in keys:
                if part[key] is None:  # as runs were written that did not know it
                    del part[key]
        return made


def load_run(path: str | os.PathLike[str]) -> Run:
    """Read a run file.

    Raises:
        RecipeError: no such file, not TOML, an unknown key, or a value out of range: file, key and what is allowed.
    """
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: cannot be read: not a text file, which a run file in TOML is") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    return run_from(data, str(path))


def run_from(data: Mapping[str, Any], where: str) -> Run:
    """A run from plain values, such as those of :meth:`Run.as_dict`.

    Raises:
        RecipeError: see :func:`load_run`; ``where`` opens the message.
    """
    try:
        return Run.model_validate(dict(data))
    except ValidationError as error:
        raise RecipeError(f"{where}: {describe(error, Run)}") from None


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """The first errors of ``error`` in one line: key, what is wrong, what is allowed."""
    found = error.errors(include_url=False, include_context=False)
    said = "; ".join(_one(item, model) for item in found[:SHOWN])
    return said if len(found) <= SHOWN else f"{said}; and {len(found) - SHOWN} more"


def _one(item: ErrorDetails, model: type[BaseModel]) -> str:
    location = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        return _unknown(location, model)
    key = ".".join(part for part in location if "[" not in part)
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = item["input"]
    shown = f" (got {given!r})" if item["type"] != "missing" and isinstance(given, bool | int | float | str) else ""
    return f"{key}: {message}{shown}" if key else f"{message}{shown}"


def _unknown(location: list[str], model: type[BaseModel]) -> str:
    fields = list(_fields(model, location[:-1]))
    close = difflib.get_close_matches(location[-1], fields, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(fields)}"
    return f"{'.'.join(location)}: unknown key; {hint}"


def _fields(model: type[BaseModel], location: list[str]) -> Iterator[str]:
    for part in location:
        annotation = model.model_fields[part].annotation
        options = getattr(annotation, "__args__", (annotation,))
        model = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    yield from model.model_fields
