"""The record of a run: recipe, training, machine, and every evaluated point."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.common import RESULTS, rows
from dqt.arith.files import write_file

FOLDER = RESULTS / "evidence"
ROOT = Path(__file__).parent.parent.parent
MEASURES = "measures.jsonl"
"""The runs of one epoch, a line for each."""
Kind = Literal["uniform", "auto", "dealt", "plan", "cascade"]


class RecordError(ValueError):
    """A record that cannot be read, or that belongs to something else."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def save(self, path: Path) -> None:
        """Write: whatever happens, ``path`` is the old record or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, rows(self.model_dump(mode="json", exclude_none=True)), "\n")


_Kind = TypeVar("_Kind", bound=_Frozen)


class Point(_Frozen):
    """One plan on the whole test set, by the integer program.

    Attributes:
        kind: ``"dealt"`` are the controller's choices, given to other images at random.
        accuracy: top-1 in [0, 1].   share: mean BitOPs as a fraction of every layer at 8 bits, controller included.
        bits: of a uniform plan.   widths, margins: of a cascade.   by_layer: of a searched plan.
        budget: what a plan or cascade was made for.
        held_out: accuracy on the held-out images, of a uniform width or a cascade; a cascade was chosen there.
        seconds: of judging.   ms: of one image, where the run was timed.
    """

    label: str
    kind: Kind
    accuracy: float = Field(ge=0, le=1)
    share: float = Field(gt=0)
    bits: int | None = None
    widths: tuple[int, ...] | None = None
    margins: tuple[int, ...] | None = None
    by_layer: dict[str, tuple[int, int]] | None = None
    budget: float | None = None
    held_out: float | None = None
    seconds: float = 0.0
    ms: float | None = Field(default=None, gt=0)


class Controller(_Frozen):
    """What the controller itself takes, beside the model's weights and its BitOPs at 8 bits."""

    parameters: int
    model_weights: int
    bitops: int
    model_bitops: int


class Training(_Frozen):
    """How long it took, where, and what it said on the held-out images."""

    epochs: int
    epochs_done: int
    seconds: float
    started: tuple[dict[str, Any], ...]
    validation: tuple[dict[str, Any], ...]
    warnings: int

    @property
    def finished(self) -> bool:
        """Whether every epoch is done."""
        return self.epochs_done >= self.epochs


class Record(_Frozen):
    """One run.

    Attributes:
        recipe: the run file's content with the seed; its paths are the run file's.
        images: how many ``train``, ``held_out``, ``test``.
        checkpoint: which file was judged, its epoch and its SHA-256.
        judged: commit, machine and engine of the points.   timed: how the points' ``ms`` were taken, and where.
    """

    version: Literal[1] = 1
    name: str
    seed: int
    recipe: dict[str, Any]
    training: Training
    images: dict[str, int]
    checkpoint: dict[str, Any]
    program_bytes: int
    judged: dict[str, Any]
    timed: dict[str, Any] | None = None
    controller: Controller | None = None
    points: tuple[Point, ...] = ()

    def find(self, label: str) -> Point | None:
        """The point of that label."""
        return next((point for point in self.points if point.label == label), None)

    def of(self, kind: Kind) -> tuple[Point, ...]:
        """The points of a kind, the cheapest first."""
        return tuple(sorted((point for point in self.points if point.kind == kind), key=lambda point: point.share))

    def uniform(self, bits: int) -> Point | None:
        """The point of a uniform width."""
        return next((point for point in self.of("uniform") if point.bits == bits), None)

    def with_point(self, point: Point) -> Record:
        """The record with one more point."""
        return self.model_copy(update={"points": (*self.points, point)})


class FloatRecord(_Frozen):
    """One float training, complete.

    Attributes:
        recipe: the run file's content with the seed.   losses: mean cross entropy of each epoch.
        images: how many ``train``, ``test``.   weights: SHA-256 of their file.
        accuracy: top-1 in [0, 1] on the whole test set, without mixed precision.
    """

    version: Literal[1] = 1
    name: str
    seed: int
    recipe: dict[str, Any]
    started: tuple[dict[str, Any], ...]
    seconds: float
    losses: tuple[float, ...]
    images: dict[str, int]
    weights: str
    accuracy: float = Field(ge=0, le=1)


def path_of(name: str, seed: int, folder: Path = FOLDER) -> Path:
    """Where the record of a run is."""
    return folder / f"{name}-s{seed}.json"


def float_path_of(name: str, seed: int, folder: Path = FOLDER) -> Path:
    """Where the record of a float training is."""
    return folder / "float" / f"{name}-s{seed}.json"


def load(path: Path) -> Record:
    """Read the record of a run.

    Raises:
        RecordError: not such a file: says which file and what is wrong.
    """
    return _load(path, Record)


def _load(path: Path, kind: type[_Kind]) -> _Kind:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordError(f"{path}: not a record of a run: {where}: {first['msg']}; judge the run again") from None


def load_all(folder: Path = FOLDER) -> list[Record]:
    """Every record of a folder, by name and seed; a file of its own goes before a line of MEASURES."""
    found = {(record.name, record.seed): record for record in _measures(folder / MEASURES)}
    found |= {(record.name, record.seed): record for record in map(load, folder.glob("*.json"))}
    return [found[key] for key in sorted(found)]


def _measures(path: Path) -> list[Record]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [Record.model_validate_json(line) for line in lines]


def load_floats(folder: Path = FOLDER) -> list[FloatRecord]:
    """Every record of a float training, by name and seed."""
    found = [_load(path, FloatRecord) for path in (folder / "float").glob("*.json")]
    return sorted(found, key=lambda record: (record.name, record.seed))


def commit() -> str:
    """The commit of this checkout; ``+`` where the package's sources have changed since."""
    head = _git("rev-parse", "--short=10", "HEAD")
    return head and head + ("+" if _git("status", "--porcelain", "--", "src/dqt") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def mean(values: Iterable[float]) -> float:
    """The mean of one value or more."""
    given = list(values)
    return sum(given) / len(given)
