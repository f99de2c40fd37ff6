"""Starts the engine's test program, csrc/tests/engine_test.cc, and compares its integers with the interpreter's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.cascade import Cascade
from dqt.arith.plan import Plan, PlanLike, resolve, uniform
from dqt.program.interpret import Result, cascaded, execute
from dqt.program.program import Program
from tests.native.build import call

Floats: TypeAlias = npt.NDArray[np.float32]
Codes: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Engine:
    """How to start the test program: an emulator first, where it is for another processor; and a folder for files."""

    command: tuple[str, ...]
    folder: Path

    def sets(self) -> list[str]:
        """Names of the kernel sets that the processor runs."""
        return call(*self.command, "--isa").split()

    def codes(
        self, isa: str, program: Program, x: Floats, plans: Sequence[PlanLike], threads: int = 1, callers: int = 1
    ) -> list[Codes]:
        """The integer outputs ``[N, size]`` under each plan, none of them a cascade."""
        net, samples, lines, out = (self.folder / name for name in ("net.dqt", "x.f32", "plans", "codes"))
        program.save(net)
        x.tofile(samples)
        lines.write_text("".join(line(program, plan) + "\n" for plan in plans))
        call(*self.command, isa, threads, callers, net, samples, lines, out)
        return list(np.fromfile(out, np.int32).reshape(len(plans), len(x), -1))

    def cascade(self, isa: str, program: Program, x: Floats, plan: Cascade, threads: int = 1) -> Result:
        """The codes and passes of a cascade, whose every pass is a run of the samples that are still unsure."""

        def run(some: Floats, b: int) -> Result:
            (codes,) = self.codes(isa, program, some, [b], threads)
            return Result(codes, np.zeros((len(some), 0), np.int8), np.ones(len(some), np.int8))

        return cascaded(x, plan, run)


def line(program: Program, plan: PlanLike) -> str:
    """A plan as the test program reads it."""
    space = program.space
    resolved = resolve(space, plan)
    fixed = resolved if isinstance(resolved, Plan) else uniform(space, space.master)
    pairs = [*fixed.values(), *[(space.master, space.master)] * len(space.controller)]
    return ("" if isinstance(resolved, Plan) else "auto ") + " ".join(f"{bw}:{ba}" for bw, ba in pairs)


def check(
    engine: Engine, program: Program, x: Floats, plans: Sequence[PlanLike], threads: int = 1, callers: int = 1
) -> None:
    """Every kernel set, every plan: equality."""
    compare(engine, program, x, [(plan, execute(program, x, plan)) for plan in plans], threads, callers)


def compare(
    engine: Engine,
    program: Program,
    x: Floats,
    expected: Sequence[tuple[PlanLike, Result]],
    threads: int = 1,
    callers: int = 1,
    sets: Sequence[str] = (),
) -> None:
    """The same against results that are there; ``sets``: of these kernel sets alone."""
    single = [(plan, result.codes) for plan, result in expected if not isinstance(plan, Cascade)]
    for isa in sets or engine.sets():
        got = engine.codes(isa, program, x, [plan for plan, _ in single], threads, callers)
        for codes, (plan, right) in zip(got, single, strict=True):
            np.testing.assert_array_equal(codes, right.reshape(len(x), -1), err_msg=f"{isa} {plan}")
        for cascade, result in expected:
            if isinstance(cascade, Cascade):
                again = engine.cascade(isa, program, x, cascade, threads)
                np.testing.assert_array_equal(again.codes, result.codes, err_msg=f"{isa} {cascade}")
                np.testing.assert_array_equal(again.passes, result.passes, err_msg=f"{isa} {cascade}")
