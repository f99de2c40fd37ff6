"""What a target is: a class, an integer from 0, or numbers. Training, search, cascades and metrics all read this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Int64: TypeAlias = npt.NDArray[np.int64]
Float32: TypeAlias = npt.NDArray[np.float32]
IGNORED = -100
"""The label of a position that does not count, as torch's cross entropy has it; for outputs with positions alone."""


def class_labels(
    given: Any,
    shape: Sequence[int],
    classes: int | None,
    *,
    error: type[Exception] = ValueError,
    what: str = "labels",
    samples: Sequence[int] | None = None,
    ignored: int = IGNORED,
) -> Int64:
    """``given`` as int64 labels of ``shape``, each in ``[0, classes - 1]``.

    Integers of any width, and booleans, are taken; so is a dimension of one class index, ``[N, 1]`` for ``[N]``. Where
    the shape is ``[N, positions...]``, ``ignored`` marks a position that does not count.

    Args:
        shape: what the labels must have, ``(N,)`` or ``(N, positions...)``.
        classes: how many there are; None: any number, the labels must not be negative.
        error: the class to raise.   what: what the message calls the labels.
        samples: where the samples stand in their data set, for the message; default: their place in ``given``.

    Raises:
        error: one-hot rows, real numbers, another number of labels than of samples, or a label that is no class.
    """
    values, shape = np.asarray(given), tuple(shape)
    if values.shape == (shape[0], 1, *shape[1:]):
        values = values.reshape(shape)
    if values.dtype.kind not in "iub" or values.shape != shape:
        said = f"{what} of dtype {values.dtype}, shape {list(values.shape)}: need integers {list(shape)}"
        raise error(f"{said}, the class of each sample from 0{_advice(values, shape, classes)}")
    wrong = values < 0 if classes is None else (values < 0) | (values >= classes)
    wrong &= ~((values == ignored) & (len(shape) > 1))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        sample = at[0] if samples is None else int(samples[at[0]])
        known = "from 0" if classes is None else f"0 to {classes - 1}, of {classes} classes"
        first = "; the labels begin at 1: subtract 1" if classes and _one_based(values, classes) else ""
        raise error(f"{what}: {values[at]} of sample {sample} is not a class: need {known}{first}")
    return values.astype(np.int64)


def _advice(values: npt.NDArray[Any], shape: tuple[int, ...], classes: int | None) -> str:
    rows = values.shape[:1] == shape[:1]
    if rows and values.ndim == len(shape) + 1 and (classes is None or values.shape[1] == classes):
        return ": rows of scores or one-hot rows become such labels by argmax(1)"
    if rows and values.dtype.kind == "f":
        return ': convert them if they are classes; for numbers say task="regression" (docs/guide/tasks.md)'
    return ""


def _one_based(values: npt.NDArray[Any], classes: int) -> bool:
    return bool(values.min() == 1) and bool(values.max() == classes)


def real_targets(
    given: Any,
    shape: Sequence[int],
    *,
    error: type[Exception] = ValueError,
    samples: Sequence[int] | None = None,
) -> Float32:
    """``given`` as finite float32 numbers of ``shape``; of one number a sample, ``[N]`` and ``[N, 1]`` alike.

    Args:
        shape: ``(N, *output)``.   error, samples: as of :func:`class_labels`.

    Raises:
        error: no numbers, another shape, a NaN or an infinity.
    """
    values, shape = np.asarray(given), tuple(shape)
    one = all(size == 1 for size in shape[1:])
    if one and values.size == shape[0] and values.shape[:1] == shape[:1]:
        values = values.reshape(shape)
    if values.dtype.kind not in "iubf" or values.shape != shape:
        raise error(
            f"targets of dtype {values.dtype}, shape {list(values.shape)}: need numbers {list(shape)}, shaped as the "
            "network's output"
        )
    wrong = ~np.isfinite(values)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        sample = at[0] if samples is None else int(samples[at[0]])
        raise error(f"targets: {values[at]} of sample {sample} is no finite number")
    return values.astype(np.float32)
