"""``dqt eval`` on more pictures than memory holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqt.cli.inputs import EngineName, size_of
from dqt.cli.output import progress

if TYPE_CHECKING:
    from dqt.arith.plan import PlanLike
    from dqt.data.pictures import Tree
    from dqt.program.program import Program
    from dqt.program.task import Task
    from dqt.report.results import Kind, Results
    from dqt.runtime.many import Numbers

    Way = tuple[str, Kind, PlanLike, int | None]


def run_pictures(
    program: Program,
    net: Path,
    data: str,
    ways: list[Way],
    task: Task,
    *,
    given: str | Mapping[str, Any] | None,
    limit: int | None,
    check: int,
    engine: EngineName,
    processes: int | None,
    out: Path | None,
) -> Results:
    """The results of every way to run ``program`` on the pictures that ``data`` names.

    Args:
        given: what every process makes the task from.   out: where the numbers of each part are kept, if anywhere.

    Raises:
        DataError: folders or pictures that cannot be read.   InputError: the program takes no pictures.
    """
    from dqt.program.parallel import cores
    from dqt.report.collect import metric_of, results_of, row_of
    from dqt.runtime.many import CHUNK, Job, judged

    path = Path(data.partition("=")[2]).expanduser()
    pictures = _test_part(program, path, limit)
    native = engine == EngineName.NATIVE
    job = Job(
        net=net.absolute(), pictures=pictures, plans=tuple(way[2] for way in ways),
        task=given, resize=_resize(program),
        check=_checks(check, len(pictures)) if native else 0, native=native, folder=out, chunk=CHUNK,
    )  # fmt: skip
    with progress("evaluating", len(pictures)) as advance:
        found = judged(job, processes or cores(), advance)
    rows = [
        row_of(program, label, kind, _evaluation(program, task, numbers), pictures.labels, bits=bits,
               plan=_static(program, kind, plan), served=numbers.comparison)
        for (label, kind, plan, bits), numbers in zip(ways, found, strict=True)
    ]  # fmt: skip
    return results_of(
        program, rows, name=net.stem, data=f"the pictures of {path.name}", samples=len(pictures),
        model_bytes=size_of(program, net), auto=_auto(program, task, ways, found), engine="native" if native else
        "interpret", metric=metric_of(task),
    )  # fmt: skip


def _test_part(program: Program, path: Path, limit: int | None) -> Tree:
    """The pictures to score, their labels in the program's own order of classes."""
    import numpy as np

    from dqt.cli.inputs import image_shape
    from dqt.cli.labelled import classes_of, renumbered
    from dqt.data.pictures import part_of, tree

    count = classes_of(program)
    image_shape(program, str(path))
    found = tree(part_of(path, "test") or path)
    labels = renumbered(program, found.classes, found.labels, str(path), count)
    if limit is not None and limit < len(found):
        some = np.linspace(0, len(found) - 1, limit).round().astype(np.int64)  # of all classes
        return replace(found, files=tuple(found.files[i] for i in some), labels=labels[some])
    return replace(found, labels=labels)


def _resize(program: Program) -> int:
    """What the shorter side becomes: as in training, or as is usual on ImageNet."""
    from dqt.data.pictures import USUAL_CROP, USUAL_RESIZE

    known = program.info.get("resize")
    return known if isinstance(known, int) else round(program.input_shape[1] * USUAL_RESIZE / USUAL_CROP)


def _checks(check: int, samples: int) -> int:
    """Of each chunk, how many are compared, so that all chunks together compare at least ``check``."""
    from dqt.runtime.many import CHUNK

    return -(-check // max(1, -(-samples // CHUNK)))


def _evaluation(program: Program, task: Task, numbers: Numbers) -> Any:
    import numpy as np

    from dqt.arith.cost import full_bitops
    from dqt.program.evaluate import Evaluation

    share = float(numbers.bitops.mean()) / full_bitops(program.space)
    none = np.empty(0, dtype=np.int32)
    return Evaluation(None, numbers.widths, numbers.bitops, share, none, task=task, judged=numbers.rows)


def _static(program: Program, kind: Kind, plan: PlanLike) -> Any:
    from dqt.arith.plan import resolve

    return None if kind in ("auto", "cascade") else resolve(program.space, plan)


def _auto(program: Program, task: Task, ways: list[Way], found: list[Numbers]) -> Any:
    from dqt.report.collect import auto_of

    chosen = next((numbers for way, numbers in zip(ways, found, strict=True) if way[1] == "auto"), None)
    return None if chosen is None else auto_of(program, _evaluation(program, task, chosen), None)
