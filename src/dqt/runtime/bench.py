"""Latency by width and batch, beside other engines, so that the numbers of one run may be compared.

Everything runs on the same cores and takes turns: in a round each contestant has one turn, which begins with a call
that is not timed, because the others' weights are in the cache. Ratios are of one round, so that what else the machine
does falls on both sides.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dqt.arith.errors import InputError
from dqt.arith.plan import PlanLike, resolve
from dqt.program.inputs import inputs_of
from dqt.program.program import Program, ProgramLike, as_program
from dqt.program.signature import only_input
from dqt.program.values import FLOAT
from dqt.runtime.peers import PEERS, Call, Peer, bind, version
from dqt.runtime.runtime import Runtime

ROUNDS = 10
CHECKED = 16
"""Inputs on which a peer's answers are compared with ours."""
OWN = "dqt"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spread:
    """Median, 10th and 90th percentile of ``count`` measurements."""

    count: int
    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of ``values``, to five significant digits."""
        low, middle, high = (float(f"{v:.5g}") for v in np.percentile(values, (10, 50, 90)))
        return cls(len(values), middle, low, high)


@dataclass(frozen=True)
class Row:
    """One contestant at one batch.

    Attributes:
        engine: "dqt" or the name of a peer.
        bits: the width, as text, or "auto"; of a peer "8".
        batch: samples of a call.
        ms: milliseconds of a call.
        images_per_second: by the median.
        ratio: time over that of the first contestant (dqt at its first width) in the same round.
    """

    engine: str
    bits: str
    batch: int
    ms: Spread
    images_per_second: float
    ratio: Spread


@dataclass(frozen=True)
class Step:
    """A uniform width beside the next wider one that was timed.

    Attributes:
        bits, wider: the two widths.
        batch: samples of a call.
        ratio: the narrower width's time over the wider one's, in the same round.
        faster: "yes" where the spread of the ratio lies below 1, "no" where it does not reach below 1; otherwise what
            differs is within the noise of this measurement.
    """

    bits: int
    wider: int
    batch: int
    ratio: Spread
    faster: Literal["yes", "no", "within the noise"]


@dataclass(frozen=True)
class Agreement:
    """A peer's answers beside ours at 8 bits: the share of equal top-1, and mean |difference| over our deviation."""

    engine: str
    version: str
    samples: int
    top1: float
    difference: float


@dataclass(frozen=True)
class Report:
    """What was measured, and on what."""

    isa: str
    threads: int
    cores: tuple[int, ...]
    seconds: float
    rounds: int
    rows: tuple[Row, ...]
    steps: tuple[Step, ...]
    agreement: tuple[Agreement, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Contestant:
    engine: str
    bits: str
    call: Call


def bench(
    program: ProgramLike,
    *,
    plans: Mapping[str, PlanLike],
    batches: Sequence[int] = (1,),
    threads: int = 1,
    seconds: float = 1.0,
    against: Sequence[str] = (),
    peers: Mapping[str, Peer] = PEERS,
    isa: str | None = None,
    inputs: Floats | None = None,
    advance: Callable[[int], object] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Report:
    """Time ``program`` under every plan, and every peer, at every batch.

    Args:
        program: the network, or the path of a ``.dqt`` file.
        plans: label -> plan; times are compared with the first of them.
        batches: samples of a call.
        threads: of a call; so many cores are used, and nothing else.
        seconds: of each contestant at each batch, untimed calls left out.
        against: names of ``peers``.
        peers: other engines by name.
        isa: kernels, see :class:`dqt.Runtime`.
        inputs: float32 ``[N, *input_shape]``, repeated as needed; noise by default, at which "auto" means little.
        advance: called after each turn; there are :func:`turns` of them.
        clock: seconds. Where one thread shares its core with other work, ``time.process_time`` leaves that work out.

    Raises:
        RuntimeUnavailableError, PeerError, ExportError, PlanError: before anything is timed.
    """
    program = as_program(program)
    for plan in plans.values():
        resolve(program.space, plan)
    with pinned(threads) as cores:
        run = Runtime(program, threads=threads, isa=isa)
        agreed = tuple(agreement(name, program, peers=peers, run=run, inputs=inputs) for name in against)
        rows: list[Row] = []
        steps: list[Step] = []
        for batch in batches:
            x = noise_or(program, inputs, batch)
            contestants = [_Contestant(OWN, label, partial(run, x, plan)) for label, plan in plans.items()]
            y = run(x)
            contestants += [_Contestant(name, "8", bind(peers, name, program, x, y, threads)) for name in against]
            times = _timed([one.call for one in contestants], seconds, advance, clock)
            rows += _rows(contestants, batch, times)
            steps += _steps(list(plans.values()), batch, times)
    return Report(run.isa, run.threads, cores, seconds, ROUNDS, tuple(rows), tuple(steps), agreed)


def turns(plans: int, batches: int, against: int) -> int:
    """How many turns a bench has."""
    return ROUNDS * batches * (plans + against)


@contextmanager
def pinned(threads: int) -> Iterator[tuple[int, ...]]:
    """This process on the last ``threads`` of its cores while the block runs; empty where a system cannot do it.

    The last, because a system's own work tends to the first; ``taskset -c N`` chooses others.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    before = os.sched_getaffinity(0)
    cores = tuple(sorted(before)[-threads:])
    os.sched_setaffinity(0, cores)
    try:
        yield cores
    finally:
        os.sched_setaffinity(0, before)


def noise_or(program: Program, given: Floats | None, count: int) -> Floats:
    """``count`` samples: the given ones, repeated as needed, or noise within what the program was calibrated with."""
    one = only_input(program.inputs)
    if given is None and one.kind != FLOAT:
        raise InputError(f"input {one.name} takes integers, for which noise is no input: pass inputs")
    if given is None:
        return noise(program, count)[one.name]
    repeated: Floats = np.ascontiguousarray(given[np.arange(count) % len(given)])
    return repeated


def noise(program: Program, count: int) -> dict[str, npt.NDArray[Any]]:
    """``count`` samples by input: normal within what the program was calibrated with, or any integers of theirs."""
    rng, made = np.random.default_rng(0), {}
    for one in program.inputs:
        taken, shape = inputs_of(program).each[one.name].range, (count, *one.shape)
        if taken is None:
            made[one.name] = rng.integers(one.lo, one.hi, shape, endpoint=True)
        else:
            drawn = taken.middle + taken.half / 3 * rng.standard_normal(shape)
            made[one.name] = np.asarray(drawn, dtype=np.float32)
    return made


def agreement(
    name: str,
    program: Program,
    *,
    peers: Mapping[str, Peer] = PEERS,
    run: Runtime | None = None,
    inputs: Floats | None = None,
) -> Agreement:
    """How a peer's answers agree with ours at 8 bits, of several outputs the first; arguments as of :func:`bench`."""
    run = run or Runtime(program, threads=1)
    x = noise(program, CHECKED) if inputs is None else noise_or(program, inputs, CHECKED)
    answer = run.session(CHECKED)(x)
    ours = next(iter(answer.values())) if isinstance(answer, Mapping) else answer
    theirs = np.array(bind(peers, name, program, x, ours, run.threads)())
    top1 = (ours.reshape(CHECKED, -1).argmax(1) == theirs.reshape(CHECKED, -1).argmax(1)).mean()
    difference = np.abs(ours - theirs).mean() / max(float(ours.std()), 1e-12)
    return Agreement(name, version(peers[name]), CHECKED, float(top1), float(f"{difference:.3g}"))


def _timed(
    calls: Sequence[Call], seconds: float, advance: Callable[[int], object], clock: Callable[[], float]
) -> list[list[list[float]]]:
    """Milliseconds of every timed call, ``[contestant][round][call]``."""
    times: list[list[list[float]]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, found in zip(calls, times, strict=True):
            found.append(_turn(call, seconds / ROUNDS, clock))
            advance(1)
    return times


def _turn(call: Call, seconds: float, clock: Callable[[], float]) -> list[float]:
    call()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while not found or time.perf_counter() < end:
        start = clock()
        call()
        found.append(1e3 * (clock() - start))
    return found


def _rows(contestants: Sequence[_Contestant], batch: int, times: list[list[list[float]]]) -> Iterator[Row]:
    base = [float(np.median(turn)) for turn in times[0]]
    for one, found in zip(contestants, times, strict=True):
        ms = Spread.of([value for turn in found for value in turn])
        ratio = Spread.of([float(np.median(turn)) / first for turn, first in zip(found, base, strict=True)])
        yield Row(one.engine, one.bits, batch, ms, round(1e3 * batch / ms.median, 1), ratio)


def _steps(plans: Sequence[PlanLike], batch: int, times: list[list[list[float]]]) -> Iterator[Step]:
    """Every uniform width among the first contestants beside the next wider one, from wide to narrow."""
    turns_of = {plan: times[i] for i, plan in enumerate(plans) if isinstance(plan, int)}
    widths = sorted(turns_of, reverse=True)
    for wider, bits in pairwise(widths):
        rounds = zip(turns_of[bits], turns_of[wider], strict=True)
        ratio = Spread.of([float(np.median(mine) / np.median(its)) for mine, its in rounds])
        yield Step(
            bits, wider, batch, ratio, "yes" if ratio.p90 < 1 else "no" if ratio.p10 >= 1 else "within the noise"
        )
