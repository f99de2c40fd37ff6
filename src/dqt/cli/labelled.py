"""Labelled samples for ``dqt eval``, from a named set or from the user's own files, without torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqt.cli.inputs import image_shape, inputs_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dqt.data.arrays import Int64, Part
    from dqt.data.formats import Arrays
    from dqt.program.program import Program
    from dqt.program.task import Task


@dataclass(frozen=True, eq=False)
class Labelled:
    """What a program is scored on.

    Attributes:
        words: what the samples are, for people.
        inputs: float32 ``[N, *input_shape]``.
        targets: as the task's metric takes them: of classification ``[N]``, each the index of one of the outputs.
        images: uint8 ``[N, C, H, W]`` where the samples are images.
    """

    words: str
    inputs: npt.NDArray[np.float32]
    targets: Any
    images: npt.NDArray[np.uint8] | None


def labelled_samples(program: Program, spec: str, limit: int | None, task: Task) -> Labelled:
    """The first ``limit`` samples that ``spec`` names; all by default.

    The test part where the data has one. Otherwise all of the user's own data, but for a program that was trained on
    a set of that kind, which has seen four fifths of it: the fifth that training held out.

    Raises:
        DataError: see :func:`dqt.data.sets.read`; or targets that do not fit the task. InputError: samples that the
            program does not take, or outputs that are not one score for each class.
    """
    from dqt.data.errors import DataError
    from dqt.data.sets import read
    from dqt.program.evaluate import output_value
    from dqt.program.task import CLASSIFICATION

    plain = task.name == CLASSIFICATION
    if plain:
        classes_of(program)
    name, _, path = spec.partition("=")
    arrays = read(spec, like=image_shape(program, path) if name == "folder" else None, classes=plain)
    part, words = _scored(program, arrays, name, path)
    part = part.take(slice(None, limit))
    labels = renumbered(program, arrays.classes, part.labels, path) if name == "folder" else part.labels
    inputs = inputs_of(program, part.x, path or name)
    try:
        targets = task.checked(labels, output_value(program).shape, len(inputs), error=DataError)
    except DataError as error:
        raise DataError(f"{path or name}: {error}") from None
    return Labelled(words, inputs, targets, _shown(program, part.x))


def classes_of(program: Program) -> int:
    """How many classes the program scores.

    Raises:
        InputError: its output is not one score for each of two or more classes.
    """
    from dqt.program.interpret import InputError

    last: Any = program.ops[-1]
    shape = next(value.shape for value in program.values if value.name == last.x)
    if len(shape) != 1 or shape[0] < 2:
        raise InputError(
            f"eval scores classes: it needs an output [N, classes] of two or more, this program's is {list(shape)} for "
            "each sample; say what it is for with --task, or compare what dqt run writes with --bits 8 -o wide.npy and "
            "--bits 4 -o narrow.npy"
        )
    return int(shape[0])


def _scored(program: Program, arrays: Arrays, name: str, path: str) -> tuple[Part, str]:
    """The samples to score, and what they are."""
    from dqt.data.sets import OWN, split

    if arrays.test is not None or name not in OWN:
        return (arrays.test or split(arrays)[1]), f"the {name} test set"
    file = Path(path).name
    if program.info.get("data") == name or arrays.train is None:
        return split(arrays)[1], f"the fifth of {file} that training holds out"
    return arrays.train, f"all of {file}"


def renumbered(program: Program, folders: Sequence[str], labels: Int64, path: str, count: int | None = None) -> Int64:
    """Labels by the program's own order of classes: the names of the folders tell which is which.

    Raises:
        DataError: some folders are called as the program's classes are, and others are not; or none is, and
            there are not ``count`` of them.
    """
    import numpy as np

    from dqt.data.errors import DataError

    known = program.info.get("classes")
    names = [str(name) for name in known] if isinstance(known, list | tuple) else []
    strange = [folder for folder in folders if folder not in names]
    if not strange:
        return np.array([names.index(folder) for folder in folders], dtype=np.int64)[labels]
    if len(strange) < len(folders):
        raise DataError(f"{path}: no class of the program is called {strange[0]!r}; it knows {', '.join(names)}")
    if names:
        print("dqt: no class folder is called as the program's classes are: matched in sorted order", file=sys.stderr)
    if count is not None and len(folders) != count:  # in sorted order, a class that is missing would shift the others
        raise DataError(
            f"{path}: {len(folders)} class folders, and the program has {count} classes: need a folder for each, or "
            "folders called as the program's classes are"
        )
    return labels


def _shown(program: Program, x: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | None:
    """The images as a report shows them."""
    from dqt.program.pixels import channels_first

    return channels_first(x, program.input_shape) if x.dtype == "uint8" and len(program.input_shape) == 3 else None
