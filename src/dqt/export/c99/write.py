"""``dqt.export.c``: a program as a folder of C99, for microcontrollers."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from dqt.arith.cascade import Cascade
from dqt.arith.files import write_file
from dqt.arith.plan import Plan, PlanLike, resolve
from dqt.export.c99.code import Code, for_choice
from dqt.export.c99.forms import add
from dqt.export.c99.layer import scratch_of
from dqt.export.c99.text import header, source
from dqt.export.packages import ExportError
from dqt.program.graph import needed
from dqt.program.layered import Layered
from dqt.program.program import Program, ProgramLike, as_program

LIBRARY = (
    "arith.h",
    "ops.h",
    "dot.h",
    "dot.c",
    "layer.c",
    "depthwise.c",
    "move.c",
    "elementwise.c",
    "reduce.c",
    "attention.c",
)
"""Files that every exported program has; the others are ``NAME.h`` and ``NAME.c``."""


def c(
    program: ProgramLike, folder: str | os.PathLike[str], *, name: str = "net", width: PlanLike | None = None
) -> None:
    """Write ``program`` as a folder of C99 without dependencies, which gives the integers of :func:`dqt.interpret`.

    ``NAME_run(&net, input, widths, output)`` runs one sample at the widths that it is given, or with ``NAME_auto`` at
    those that the program's controller chooses; the weights are there once. Values lie in an arena inside of
    ``NAME_t``, whose size ``NAME.h`` states; nothing is allocated. A program whose dimensions have names is written for
    the sizes that it stands in: ``bind`` it first.

    Args:
        program: the program, or the path of a ``.dqt`` file.
        folder: that is made, or replaced where it holds an earlier export of this name and nothing else.
        name: of the files and the prefix of everything in them, a C identifier.
        width: a width or a plan; what it never reads is left out then: the low bits of weights, which are stored in 4
            or 2 bits where that is enough, the constants of other widths and the controller. ``NAME_run(&net, input,
            output)`` runs at it. ``None``: every width.

    Raises:
        ExportError: an operator has no C form, the name is no identifier, the width is not one of a run, or the folder
            holds other files or is a file.
        PlanError: the plan is none of the program's.
        OSError: the folder cannot be written; nothing is left of it.
    """
    program, place = as_program(program), Path(folder)
    place = place.resolve() if place.is_symlink() else place  # a link stays, and what it leads to is written
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,30}", name) or name == "dqt" or f"{name}.c" in LIBRARY:
        raise ExportError(f"name {name!r}: need a C identifier of at most 31 letters, digits and _, such as 'net'")
    texts = sources(program, name, _fixed(program, width))
    _check_place(place, texts)
    try:
        _replace(place, texts)
    except OSError as error:
        code = error.errno or errno.EIO
        said = (
            f"cannot be written ({os.strerror(code)}), and is as it was: choose a folder with space that you may write"
        )
        raise OSError(code, said, str(place)) from error


def sources(program: Program, name: str, plan: Plan | None = None) -> dict[str, str]:
    """File name -> text of everything that is exported; ``plan``: at its widths alone."""
    code = Code(program, name, plan)
    code.place({op.out: scratch_of(code, op) for op in code.ops if isinstance(op, Layered)})
    always = frozenset(id(op) for op in needed(program.ops, auto=False))
    for op in code.ops:
        before = len(code.calls)
        add(code, op)
        if for_choice(op, always):
            chooses = "chooses && !again" if program.again else "chooses"
            code.calls[before:] = [f"if ({chooses}) {{", *(f"    {line}" for line in code.calls[before:]), "}"]
    library = {each: (files("dqt.export.c99") / each).read_text() for each in LIBRARY}
    return {**library, f"{name}.h": header(code), f"{name}.c": source(code)}


def _fixed(program: Program, width: PlanLike | None) -> Plan | None:
    plan = None if width is None else resolve(program.space, width)
    if plan is None or isinstance(plan, Plan):
        return plan
    said = "a cascade" if isinstance(plan, Cascade) else f"width {plan!r}"
    raise ExportError(f"{said} runs at several widths: leave width out, and choose them in each call of NAME_run")


def _check_place(place: Path, texts: dict[str, str]) -> None:
    if place.is_dir():
        others = sorted({each.name for each in place.iterdir()} - texts.keys())
        if others:
            raise ExportError(f"{place} holds {others[0]}, which is no part of this export: choose a folder of its own")
    elif place.exists():
        raise ExportError(f"{place} is a file: give the name of a folder")


def _replace(place: Path, texts: dict[str, str]) -> None:
    """Write beside the folder, then rename: it is there whole, or as it was."""
    beside = Path(tempfile.mkdtemp(prefix=f".{place.name[:40]}.", dir=place.parent))
    try:
        new, old = beside / "new", beside / "old"
        new.mkdir()
        for each, text in texts.items():
            write_file(new / each, text)
        if place.exists():
            place.rename(old)
        try:
            new.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
