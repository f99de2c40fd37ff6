"""Arrays from .npy and .npz files, and which of them are samples and which labels."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.data.errors import DataError, reason

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]

SAMPLES = ("x", "images", "inputs", "data", "samples", "features")
LABELS = ("y", "labels", "targets", "label", "target")
TRAIN, TEST, WHOLE = "train", "test", ""
MOST_LABEL = 2**31 - 1
NAMES = "need x and y (or images and labels), or x_train, y_train, x_test and y_test, or the last two alone"


@dataclass(frozen=True, eq=False)
class Part:
    """Samples with labels: ``x`` ``[N, ...]``, uint8 pixels or numbers as a model takes them; int64 ``[N]``.

    For other tasks than classification ``labels`` are the targets as the file has them, ``[N, ...]``.
    """

    x: Array
    labels: Array

    def take(self, index: Any) -> Part:
        """The samples at ``index``, in that order."""
        return Part(self.x[index], self.labels[index])


def read_parts(path: Path, *, classes: bool = True) -> dict[str, Part]:
    """The labelled parts of an .npz file: ``"train"`` and ``"test"``, one of them, or ``""`` where it has no parts.

    Samples are called ``x``, ``images``, ``inputs``, ``data``, ``samples`` or ``features``, labels ``y``, ``labels`` or
    ``targets``, alone or with train or test before or after an underscore: ``x_train``, ``test_labels``. Case does not
    matter, and arrays of other names are not read. Labels are integers ``[N]`` or ``[N, 1]``, from 0; without
    ``classes`` they are any numbers ``[N, ...]``.

    Raises:
        DataError: not such a file; samples without labels, or another number of them; labels that are no classes.
    """
    with _opened(path) as held:
        if not isinstance(held, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: one array without labels; save an .npz file: {NAMES}")
        roles = _roles(path, held.files)
        return {part: _pair(path, held, x, y, classes) for part, (x, y) in roles.items()}


def read_samples(path: Path) -> Array:
    """The one array of an .npy or .npz file, or the samples among several: those without a part, else the test part's.

    Raises:
        DataError: not such a file, or none of its arrays is called as :func:`read_parts` says.
    """
    with _opened(path) as held:
        if isinstance(held, np.ndarray):
            return held
        if len(held.files) == 1:
            return _member(path, held, held.files[0])
        named = _named(path, (name for name in held.files if (_role(name) or ("", ""))[1] == "samples"))
        name = named.get((WHOLE, "samples"), named.get((TEST, "samples")))
        if name is None:
            raise DataError(
                f"{path}: holds {', '.join(held.files) or 'nothing'}; need one array, or one that is named x"
            )
        return _member(path, held, name)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An array or an archive of arrays; what goes wrong while it is read is a DataError."""
    try:
        with path.open("rb") as file:  # np.load leaves a file open whose archive is damaged
            held = np.load(file, allow_pickle=False)
            if isinstance(held, np.ndarray):
                yield held
            else:
                with held:
                    yield held
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        said = "it is another kind of file, or holds Python objects" if "pickle" in str(error) else reason(error)
        raise DataError(f"{path}: not a readable file of plain arrays (.npy or .npz): {said}") from None


def _member(path: Path, held: Mapping[str, Any], name: str) -> Array:
    """The array ``name`` of an archive, which may hold other files, too: NumPy gives the bytes of those."""
    found: Any = held[name]
    if not isinstance(found, np.ndarray):
        raise DataError(f"{path}: {name} is no array, but another kind of file in the archive: save it with np.savez")
    return found


def _role(name: str) -> tuple[str, str] | None:
    """``"x_test"`` -> ("test", "samples"); None for a name that says neither."""
    words = name.lower().split("_")
    part = next((one for one in (TRAIN, TEST) if one in words), WHOLE)
    rest = "_".join(word for word in words if word != part)
    kind = "samples" if rest in SAMPLES else "labels" if rest in LABELS else None
    return None if kind is None else (part, kind)


def _named(path: Path, names: Iterable[str]) -> dict[tuple[str, str], str]:
    """Part and kind -> the one array that is called so."""
    found: dict[tuple[str, str], str] = {}
    for name in names:
        role = _role(name)
        if role is None:
            continue
        if role in found:
            raise DataError(f"{path}: {found[role]} and {name} are both {role[1]}: leave one of them")
        found[role] = name
    return found


def _roles(path: Path, names: Collection[str]) -> dict[str, tuple[str, str]]:
    """Part -> the names of its samples and its labels."""
    found = _named(path, names)
    parts = {part for part, _ in found}
    for part in sorted(parts):
        for kind, other in (("samples", "labels"), ("labels", "samples")):
            if (part, other) not in found:
                raise DataError(f"{path}: {found[part, kind]} has no {other} beside it; {NAMES}")
    if not parts:
        raise DataError(f"{path}: holds {', '.join(names) or 'nothing'}; {NAMES}")
    if {WHOLE, TRAIN} <= parts:
        one, other = found[WHOLE, "samples"], found[TRAIN, "samples"]
        raise DataError(f"{path}: {one} and {other} could both be the training samples: leave one of them")
    return {part: (found[part, "samples"], found[part, "labels"]) for part in parts}


def _pair(path: Path, held: Mapping[str, Array], x_name: str, y_name: str, classes: bool) -> Part:
    x, y = _member(path, held, x_name), _member(path, held, y_name)
    if x.ndim < 2 or 0 in x.shape or x.dtype.kind not in "iuf":
        raise DataError(f"{path}: {x_name} is {x.dtype} {list(x.shape)}; need numbers [N, ...], N samples")
    if not classes:
        return Part(x, _targets(path, y_name, y, len(x)))
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.shape != (len(x),) or flat.dtype.kind not in "iub":
        raise DataError(
            f"{path}: {y_name} is {y.dtype} {list(y.shape)}; need integers [{len(x)}], the class of each sample from 0"
            + ("; of one-hot rows, save argmax(1)" if y.ndim == 2 and len(y) == len(x) else "")
        )
    check_labels(flat, None, path)
    return Part(x, flat.astype(np.int64))


def _targets(path: Path, name: str, y: Array, count: int) -> Array:
    if y.ndim == 0 or len(y) != count or y.dtype.kind not in "iubf":
        raise DataError(
            f"{path}: {name} is {y.dtype} {list(y.shape)}; need numbers [{count}, ...], one for each sample"
        )
    return y


def check_labels(labels: npt.NDArray[np.integer[Any] | np.bool_], classes: int | None, path: Path | str) -> None:
    """Raise DataError where a label is not in ``[0, classes - 1]``; without ``classes``, where it is no int32."""
    last = MOST_LABEL if classes is None else classes - 1
    wrong = (labels < 0) | (labels > last)
    if wrong.any():
        where = int(np.argmax(wrong))
        said = "no class: classes count from 0" if classes is None else f"outside 0..{last}"
        raise DataError(f"{path}: label {int(labels[where])} of sample {where} is {said}")
