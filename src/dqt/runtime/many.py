"""A program on more pictures than memory holds: in chunks, by several processes, and from where an earlier run stopped.

Every chunk gives what its samples contribute to the metric and what they cost, a few numbers for each. With a folder
the numbers of a chunk are written when it is done; a later run with the same program, pictures and plans reads them.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.files import write_file
from dqt.arith.plan import PlanLike
from dqt.data.errors import DataError, reason
from dqt.data.pictures import Tree, stacked
from dqt.program.evaluate import Comparison, as_defined, evaluate
from dqt.program.named import named_task
from dqt.program.program import Program
from dqt.runtime.runtime import Runtime

CHUNK = 64
FIELDS = ("rows", "widths", "bitops", "compared", "equal")


@dataclass(frozen=True, eq=False)
class Job:
    """What every process needs to know.

    Attributes:
        net: path of the program.   pictures: with the labels as the program numbers them.
        plans: to run.   task: whose metric, as run files name it; None: the program's.
        resize: pixels of the shorter side before the middle is taken.
        check: of each chunk, how many samples are compared with the interpreter; native: whether the engine runs it.
        folder: where the numbers of each chunk are kept, if anywhere.   chunk: at most so many pictures each.
    """

    net: Path
    pictures: Tree
    plans: tuple[PlanLike, ...]
    task: str | Mapping[str, Any] | None
    resize: int
    check: int
    native: bool
    folder: Path | None
    chunk: int

    @property
    def chunks(self) -> list[npt.NDArray[np.intp]]:
        """Places of the pictures of each chunk."""
        return np.array_split(np.arange(len(self.pictures)), -(-len(self.pictures) // self.chunk))

    @property
    def mark(self) -> str:
        """Of everything that the numbers follow from: those of another run are not taken for this one's."""
        digest = hashlib.sha256(self.net.read_bytes())
        files = [(str(file), found.st_size, found.st_mtime_ns) for file, found in self._stats()]
        how = (self.plans, self.task, self.resize, self.check, self.native, self.chunk)
        digest.update(repr((files, self.pictures.labels.tolist(), how)).encode())
        return digest.hexdigest()[:12]

    def _stats(self) -> Iterator[tuple[Path, os.stat_result]]:
        for file in self.pictures.files:
            try:
                yield file, file.stat()
            except OSError as error:
                raise DataError(f"{file}: {reason(error)}: the folder changed while it was read") from None


@dataclass(frozen=True, eq=False)
class Numbers:
    """Of all samples under one plan: rows of the metric, widths, BitOPs, and the comparison with the interpreter."""

    rows: npt.NDArray[np.float64]
    widths: npt.NDArray[np.int8]
    bitops: npt.NDArray[np.int64]
    comparison: Comparison | None


def judged(job: Job, processes: int, advance: Callable[[int], object]) -> list[Numbers]:
    """The numbers of every plan.

    Args:
        processes: that work, each on one thread.   advance: told of every picture that is done.

    Raises:
        DataError: a picture that cannot be read; names the file.
    """
    store = None if job.folder is None else job.folder / f"parts-{job.mark}"
    done: dict[int, Any] = {}
    for place, chunk in enumerate(job.chunks):
        kept = _kept(store, place)
        if kept is not None:
            done[place] = kept
            advance(len(chunk))
    left = [place for place in range(len(job.chunks)) if place not in done]
    with _workers(job, min(processes, len(left))) as run:
        for place, found in run(left):
            if store is not None:
                store.mkdir(parents=True, exist_ok=True)
                _keep(store, place, found)
            done[place] = found
            advance(len(job.chunks[place]))
    return [_joined([done[place][i] for place in sorted(done)]) for i in range(len(job.plans))]


class _Worker:
    """The program in one process."""

    def __init__(self, job: Job) -> None:
        self.job, self.program = job, Program.load(job.net)
        self.task = None if job.task is None else named_task(job.task)
        self.engine = Runtime(self.program, threads=1).execute if job.native else None

    def __call__(self, place: int) -> tuple[int, list[dict[str, Any]]]:
        job = self.job
        index = job.chunks[place]
        crop = self.program.input_shape[1]
        pixels = stacked(job.pictures, index.tolist(), job.resize, crop)
        return place, [self._numbers(pixels, job.pictures.labels[index], plan) for plan in job.plans]

    def _numbers(self, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], plan: PlanLike) -> dict[str, Any]:
        found = evaluate(self.program, pixels, plan, engine=self.engine, task=self.task)
        compared = Comparison(0, 0)
        if self.engine is not None and self.job.check:
            compared = as_defined(self.program, pixels, plan, found, self.job.check)
        numbers = (found.rows(labels), found.widths, found.bitops, compared.samples, compared.equal)
        return {name: np.asarray(value) for name, value in zip(FIELDS, numbers, strict=True)}


_worker: _Worker | None = None
"""Of a process that works."""


def _start(job: Job) -> None:
    global _worker  # noqa: PLW0603 - a process has one
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked
    _worker = _Worker(job)


def _work(place: int) -> tuple[int, list[dict[str, Any]]]:
    assert _worker is not None
    return _worker(place)


@contextmanager
def _workers(
    job: Job, processes: int
) -> Iterator[Callable[[Sequence[int]], Iterator[tuple[int, list[dict[str, Any]]]]]]:
    """What works off places of chunks: this process, or others."""
    if processes < 2:
        alone = _Worker(job) if processes else None
        yield lambda places: map(alone, places) if alone is not None else iter(())
        return
    # A fresh interpreter each: what threads hold in this process is not copied.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(job,))
    try:
        yield lambda places: _as_done(pool, places)
    finally:  # after Ctrl-C or an error no further chunk is begun
        pool.shutdown(cancel_futures=True)


def _as_done(pool: ProcessPoolExecutor, places: Sequence[int]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    try:
        for future in as_completed([pool.submit(_work, place) for place in places]):
            yield future.result()
    except BrokenProcessPool:
        raise DataError(
            "a process that evaluates was killed, as the system does when memory runs out: fewer --processes need less"
        ) from None


def _keep(store: Path, place: int, found: list[dict[str, Any]]) -> None:
    arrays = {f"{i}.{name}": value for i, numbers in enumerate(found) for name, value in numbers.items()}
    file = io.BytesIO()
    np.savez(file, **arrays)
    write_file(store / f"{place}.npz", file.getbuffer())


def _kept(store: Path | None, place: int) -> list[dict[str, Any]] | None:
    """The numbers of a chunk from an earlier run; None where there are none, or none that can be read."""
    if store is None:
        return None
    try:
        with np.load(store / f"{place}.npz", allow_pickle=False) as held:
            count = len(held.files) // len(FIELDS)
            return [{name: held[f"{i}.{name}"] for name in FIELDS} for i in range(count)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _joined(parts: Sequence[dict[str, Any]]) -> Numbers:
    rows, widths, bitops = (np.concatenate([part[name] for part in parts]) for name in ("rows", "widths", "bitops"))
    samples, equal = (int(sum(part[name] for part in parts)) for name in ("compared", "equal"))
    return Numbers(rows, widths, bitops, Comparison(samples, equal) if samples else None)
