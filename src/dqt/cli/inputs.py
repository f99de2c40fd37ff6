"""What verbs read: checkpoints, data sets, plans, and samples from files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dqt.arith.cascade import Cascade
    from dqt.arith.plan import Plan, Space
    from dqt.program.evaluate import Engine
    from dqt.program.program import Program
    from dqt.train.recipe import Run

ARRAYS = {".npy", ".npz"}


def checkpoint_of(path: Path) -> Path:
    """The checkpoint file: ``path`` itself, or the best of the run in the folder ``path``, or else its last."""
    if not path.is_dir():
        return path
    from dqt.train.checkpoint import BEST, LAST

    return path / BEST if (path / BEST).exists() else path / LAST


def rooted(run: Run, root: Path | None) -> Run:
    """The run with the path of its data under ``root``, if that path is relative."""
    name, separator, path = run.data.spec.partition("=")
    if root is None or not separator:
        return run
    spec = f"{name}={root / path}"
    return run.model_copy(update={"data": run.data.model_copy(update={"spec": spec})})


def widths_of(text: str, option: str = "--bits", such_as: str = "8,4,2") -> list[int]:
    """``"8,4,2"``, given to ``option``, as integers.

    Raises:
        PlanError: something else.
    """
    from dqt.arith.plan import PlanError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise PlanError(f"{option} {text!r}: need widths with commas between, such as {such_as}") from None


def plan_of(space: Space, bits: str | None, file: Path | None) -> Any:
    """The one plan or cascade that ``--bits`` or ``--plan`` names; the master width by default.

    Raises:
        PlanError: both are given, or neither a width nor "auto"; or a file that holds no plan.
    """
    from dqt.arith.plan import AUTO, PlanError

    if bits is not None and file is not None:
        raise PlanError("--bits and --plan: give one of them")
    if file is not None:
        return plan_in(space, file)
    if bits is None:
        return space.master
    if bits == AUTO:
        return AUTO
    if len(widths_of(bits)) != 1:
        raise PlanError(f"--bits {bits}: give one width or auto")
    return widths_of(bits)[0]


def plan_in(space: Space, file: Path) -> Plan | Cascade:
    """The plan or cascade in ``file``, for the network of ``space``.

    Raises:
        PlanError: the file holds neither, or one of another network. OSError: it cannot be read.
    """
    from dqt.arith.plan import PlanError, load_plan, resolve

    held = load_plan(file)
    try:
        resolve(space, held)
    except PlanError as error:
        raise PlanError(f"{file}: not of this network: {error}") from None
    return held


def size_of(program: Program, net: Path) -> int:
    """Bytes of the file of ``program``, which came from ``net``: a file, or a pipe that is empty now."""
    from dqt.program.file import dumps

    return net.stat().st_size if net.is_file() else len(dumps(program))


def samples_of(program: Program, path: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Samples from a file or from all files of a folder: their names, and float32 ``[N, *input_shape]``.

    Images, and arrays of uint8, are pixels and are normalized as in training; other arrays are what the model takes.

    Raises:
        DataError: nothing to read, or a file that cannot be read. InputError: of another shape.
    """
    import numpy as np

    from dqt.data.errors import DataError
    from dqt.data.images import IMAGE_SUFFIXES, files_in

    files = [path]
    if path.is_dir():
        files = files_in(path, IMAGE_SUFFIXES | ARRAYS)
    if not files:
        raise DataError(f"{path}: no images or arrays in this folder ({', '.join(sorted(IMAGE_SUFFIXES | ARRAYS))})")
    names: list[str] = []
    parts: list[npt.NDArray[np.float32]] = []
    for file in files:
        x = inputs_of(program, _array(program, file), str(file))
        parts.append(x)
        names += [file.name] if len(x) == 1 else [f"{file.name}[{i}]" for i in range(len(x))]
    return names, np.concatenate(parts)


def inputs_of(program: Program, array: npt.NDArray[Any], source: str) -> npt.NDArray[np.float32]:
    """Inputs, float32 ``[N, *input_shape]``: uint8 are pixels, other numbers are what the model takes.

    One sample may be without its batch dimension.

    Raises:
        InputError: another shape or dtype; or pixels, for a program that does not say their mean and std.
    """
    from dqt.program.inputs import as_input
    from dqt.program.interpret import InputError
    from dqt.program.pixels import with_batch

    shape = program.input_shape
    if array.dtype == "uint8":
        array = with_batch(array, shape)
    elif array.shape == shape:
        array = array[None]
    try:
        return as_input(array, program)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def image_shape(program: Program, source: str) -> tuple[int, ...]:
    """The shape ``[C, H, W]`` that images must get.

    Raises:
        InputError: the program takes no images.
    """
    from dqt.program.interpret import InputError

    shape = program.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise InputError(f"{source}: this program takes samples of shape {list(shape)}, which no image has: pass .npy")
    return shape


def _array(program: Program, file: Path) -> npt.NDArray[Any]:
    from dqt.data.arrays import read_samples
    from dqt.data.images import read_image

    if file.suffix.lower() in ARRAYS:
        return read_samples(file)
    return read_image(file, like=image_shape(program, str(file)))


class EngineName(StrEnum):
    """What runs a program: the same integers either way."""

    NATIVE = "native"
    INTERPRET = "interpret"


EngineOption = Annotated[
    EngineName, typer.Option("--engine", help="native, or the interpreter that defines the result.", show_default=True)
]


TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help="What the outputs are for: classification, dense, regression, language, or file.py:name, a dqt.Task of "
        "yours. Default: what the network was trained for.",
    ),
]


def engine_of(program: Program, name: EngineName) -> Engine | None:
    """The engine of that name; None is the interpreter.

    Raises:
        RuntimeUnavailableError: the native engine is not built.
    """
    from dqt.runtime import Runtime

    return Runtime(program).execute if name == EngineName.NATIVE else None
