"""Random programs, plans and batches on every kernel set of this machine, by name: the interpreter's integers, always.

    python -m tests.runtime.fuzz --cases 20000                all of them, and a table
    python -m tests.runtime.fuzz --cases 20000 --start 700    go on from seed 700, where a run was interrupted
    python -m tests.runtime.fuzz --seed 1234                  one program alone

Most programs have one input and one output: a third of their cases runs under "auto", in batches whose samples choose
different widths, a third in a cascade, and a third at another pair of widths for each layer. One program in five is a
model: two inputs or three, three outputs, a state that three runs hand on, and a named dimension; NumPy, torch and
every kernel set must agree. One in five is a transformer, of as many tokens as chance gives it. It exits with 1 if any
case is unequal, and names each.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import dqt._native as native
from dqt.arith.cascade import Cascade
from dqt.arith.errors import InputRangeWarning
from dqt.arith.plan import Pair, Plan, PlanLike, resolve
from dqt.program.execute import Machine
from dqt.program.interpret import Result, execute, margins
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_names, kernel_sets
from dqt.testing import extremes, inputs, random_model, random_program, random_transformer
from tests.program.networks import divided, random_network

Floats: TypeAlias = npt.NDArray[np.float32]
SIZES = (1, 2, 3, 5, 8, 13, 24, 67)
"""Samples of a batch; 67 are more than the engine takes at once."""
MODEL, TRANSFORMER, MODELS = "model", "transformer", 5
"""One seed in so many is a model, and one a transformer."""
KINDS = ("auto", "cascade", "pairs", MODEL, TRANSFORMER)


@dataclass(frozen=True, eq=False)
class Trial:
    """A program, a batch, and what the interpreter makes of it: automatically, in a cascade and under fixed plans."""

    seed: int
    program: Program
    x: Floats
    expected: tuple[tuple[PlanLike, Result], ...]

    @property
    def mixes(self) -> bool:
        """Whether samples chose different widths for one layer."""
        return any(np.ptp(result.widths, axis=0).any() for plan, result in self.expected if kind(plan) == "auto")


@dataclass(frozen=True)
class Case:
    """One run of the engine: the program of ``seed`` under ``plan`` (its kind), on ``isa``."""

    seed: int
    plan: str
    isa: str
    threads: int
    kernel: str | None

    def __str__(self) -> str:
        forced = f", kernel={self.kernel!r}" if self.kernel else ""
        return f"--seed {self.seed}: {self.plan}, isa={self.isa!r}, threads={self.threads}{forced}"


@dataclass
class Seen:
    """What has been compared: cases by set and kind of plan, which were unequal, and what batches mixed.

    Attributes:
        programs: how many, a batch each.
        batches: those whose samples gave one layer different widths under "auto".
        mixed: the pairs of such widths.
        pairs: pairs of weight and activation widths that a layer had in a plan.
        passes: batches of a cascade in which some samples passed more often than others.
    """

    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    unequal: list[Case] = field(default_factory=list)
    programs: int = 0
    batches: int = 0
    mixed: Counter[Pair] = field(default_factory=Counter)
    pairs: Counter[Pair] = field(default_factory=Counter)
    passes: int = 0

    def count(self) -> int:
        return sum(self.cases.values())

    def trial(self, trial: Trial) -> None:
        """Note what its batch mixes."""
        self.programs += 1
        for plan, result in trial.expected:
            if isinstance(plan, Cascade):
                self.passes += bool(np.ptp(result.passes))
            elif isinstance(plan, Plan):
                self.pairs.update(plan.values())
            else:
                self.batches += trial.mixes
                for column in result.widths.T:
                    self.mixed.update(itertools.combinations([int(b) for b in np.unique(column)], 2))


@lru_cache(maxsize=128)  # tests ask for one again; a long run forgets it
def trial(seed: int) -> Trial:
    """A program with a controller, samples that divide it, and three plans."""
    rng = np.random.default_rng([seed, 2])
    program = random_network(seed) if seed % 4 else random_program(seed, auto=True)
    count = int(rng.choice(SIZES))
    batch = inputs(program, count, seed)
    batch = np.concatenate([batch, extremes(program, 1, seed)]) if rng.integers(2) else batch
    program = divided(program, batch)
    classes = execute(program, batch[:1]).codes.ndim == 2
    plans: list[PlanLike] = [
        "auto",
        cascade(program, batch, rng) if classes else pairs(program, seed + 1),
        pairs(program, seed),
    ]
    return Trial(seed, program, batch, tuple((plan, execute(program, batch, plan)) for plan in plans))


def pairs(program: Program, seed: int) -> Plan:
    """The next pair of widths for each layer."""
    every = list(itertools.product(program.space.widths, repeat=2))
    return Plan.of({name: every[(5 * seed + i) % len(every)] for i, name in enumerate(program.layers)})


def cascade(program: Program, x: Floats, rng: np.random.Generator) -> Cascade:
    """A cascade of two or three widths at which about half of the samples run again."""
    known = program.space.widths
    count = min(len(known), int(rng.integers(2, 4)))
    widths = sorted(int(b) for b in rng.choice(known, count, replace=False))
    middle = int(np.median(margins(execute(program, x, widths[0]).codes)))
    return Cascade(tuple(widths), (middle,) * (count - 1))


def runs(trial: Trial) -> Iterator[tuple[Case, bool]]:
    """Every plan on every set, on one thread and on two: each case, and whether it was equal to the interpreter.

    Of the two runs of a set, one takes a kernel by name where it can.
    """
    names = [None, *kernel_names()]
    kernel, threads = names[trial.seed % len(names)], 1 + trial.seed // len(names) % 2
    for isa, count in itertools.product(kernel_sets(), (1, 2)):
        forced = kernel if count == threads else None
        run = Runtime(trial.program, threads=count, isa=isa, kernel=forced)
        for plan, expected in trial.expected:
            yield Case(trial.seed, kind(plan), isa, count, forced), equal(run.execute(trial.x, plan), expected)


def model_runs(seed: int) -> Iterator[tuple[Case, bool]]:
    """A model of random sizes, run after run: torch, and every set on one thread and on two."""
    rng = np.random.default_rng([seed, 4])
    program = random_model(seed, auto=seed % 2 == 0)
    sizes, count = {"height": int(rng.integers(1, program.dims[0].most + 1))}, int(rng.choice(SIZES))
    batches = [
        inputs(program, count, seed, sizes),
        extremes(program, count, seed, sizes),
        inputs(program, count, 1, sizes),
    ]
    plans: list[PlanLike] = ["auto" if program.choose else None, pairs(program, seed), program.space.widths[0]]
    expected: list[Result] = []
    for x, plan in zip(batches, plans, strict=True):
        expected.append(execute(program, x, plan, expected[-1].state if expected else None))
    yield Case(seed, MODEL, "torch", 1, None), in_torch(program.bind(**sizes), batches, plans, expected)
    for isa, threads in itertools.product(kernel_sets(), (1, 2)):
        session = Runtime(program, threads=threads, isa=isa).session(count)
        same = [equal(session.execute(x, plan), right) for x, plan, right in zip(batches, plans, expected, strict=True)]
        yield Case(seed, MODEL, isa, threads, None), all(same)


def transformer_runs(seed: int) -> Iterator[tuple[Case, bool]]:
    """A transformer under three plans, usual and extreme samples: every set on one thread and on two."""
    rng = np.random.default_rng([seed, 6])
    program = random_transformer(seed, auto=seed % 2 == 0)
    sizes, count = {"length": int(rng.integers(1, program.dims[0].most + 1))}, int(rng.choice(SIZES[:5]))
    parts = [make(program, count, seed, sizes) for make in (inputs, extremes)]
    x = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    plans: list[PlanLike] = ["auto" if program.choose else None, pairs(program, seed), program.space.widths[0]]
    expected = [execute(program, x, plan) for plan in plans]
    for isa, threads in itertools.product(kernel_sets(), (1, 2)):
        run = Runtime(program, threads=threads, isa=isa)
        same = [equal(run.execute(x, plan), right) for plan, right in zip(plans, expected, strict=True)]
        yield Case(seed, TRANSFORMER, isa, threads, None), all(same)


def in_torch(program: Program, batches: list[Any], plans: list[PlanLike], expected: list[Result]) -> bool:
    """Whether the exact run in torch gives the same outputs and states."""
    import torch

    from dqt.nn.tensors import TensorArrays

    state = None
    for x, plan, right in zip(batches, plans, expected, strict=True):
        fixed = resolve(program.space, plan)
        assert not isinstance(fixed, Cascade)
        given = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in x.items()}
        run = Machine(program, fixed, TensorArrays(torch.device("cpu"))).run(given, state)
        state = run.stored
        pairs = [*((run.outputs[name], q) for name, q in right.codes.items()), (state["past"], right.state["past"])]
        if not all(np.array_equal(ours.numpy(), q) for ours, q in pairs):
            return False
    return True


def kind(plan: PlanLike) -> str:
    return "cascade" if isinstance(plan, Cascade) else "pairs" if isinstance(plan, Plan) else "auto"


def equal(a: Result, b: Result) -> bool:
    arrays = [(a.widths, b.widths), (a.passes, b.passes), *((a.state[name], b.state[name]) for name in b.state)]
    ours, theirs = (one.codes if isinstance(one.codes, dict) else {"": one.codes} for one in (a, b))
    return list(ours) == list(theirs) and all(
        np.array_equal(*pair) for pair in (*arrays, *((ours[name], theirs[name]) for name in theirs))
    )


def other_kind(seed: int) -> Callable[[int], Iterator[tuple[Case, bool]]] | None:
    """What runs a seed that is no trial of one convolutional network."""
    return {MODELS - 1: model_runs, MODELS - 2: transformer_runs}.get(seed % MODELS)


def cases_of(seed: int, seen: Seen) -> Iterator[tuple[Case, bool]]:
    """Every case of a seed."""
    other = other_kind(seed)
    if other:
        seen.programs += 1
        return other(seed)
    one = trial(seed)
    seen.trial(one)
    return runs(one)


def compare(seeds: Iterable[int], cases: int, seen: Seen) -> Iterator[int]:
    """Compare until there are so many cases; yields how many a seed added."""
    for seed in seeds:
        before = seen.count()
        for case, same in cases_of(seed, seen):
            if seen.count() == cases:
                break
            seen.cases[case.isa, case.plan] += 1
            if not same:
                seen.unequal.append(case)
        yield seen.count() - before
        if seen.count() == cases:
            return


def report(console: Console, seen: Seen) -> None:
    """The table of all sets and plans, and each unequal case."""
    table = Table("kernel set", *KINDS, "cases", "unequal")
    for isa in (*kernel_sets(), "torch"):
        counts = [seen.cases[isa, plan] for plan in KINDS]
        wrong = sum(case.isa == isa for case in seen.unequal)
        table.add_row(isa, *(f"{n:,}" for n in (*counts, sum(counts), wrong)))
    console.print(table)
    console.print(f"{seen.count():,} cases, {len(seen.unequal):,} unequal to the interpreter")
    console.print(
        f"{seen.programs:,} programs: {seen.batches:,} batches mixed {len(seen.mixed)} pairs of widths in a layer, and "
        f"{seen.passes:,} the passes of a cascade; plans had {len(seen.pairs)} pairs of weights by activations"
    )
    for case in seen.unequal:
        console.print(f"unequal: {case}", style="red")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.runtime.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", type=int, default=20_000, help="how many in this run (20000)")
    parser.add_argument("--start", type=int, default=0, metavar="SEED", help="the first program's seed (0)")
    parser.add_argument("--seed", type=int, help="the program of this seed alone")
    arguments = parser.parse_args()
    start = arguments.start if arguments.seed is None else arguments.seed
    seeds = itertools.count(start) if arguments.seed is None else [start]
    console, seen, done = Console(), Seen(), start
    native.assume_cores(2)  # two threads, also on a machine of one core
    warnings.simplefilter("ignore", InputRangeWarning)  # samples reach far beyond the ranges, by intent
    try:
        columns = (TextColumn("seed {task.fields[seed]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("cases", total=arguments.cases if arguments.seed is None else None, seed=start)
            for added in compare(seeds, arguments.cases, seen):
                done += 1
                progress.update(task, advance=added, seed=done)
    except KeyboardInterrupt:
        left = arguments.cases - seen.count()
        console.print(f"interrupted: go on with --start {done} --cases {left}")
    report(console, seen)
    return 1 if seen.unequal else 0


if __name__ == "__main__":
    sys.exit(main())
