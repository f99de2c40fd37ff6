"""Starts the engine's test program, csrc/tests/engine_test.cc, and compares its integers with the interpreter's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dqt.arith.cascade import Cascade
from dqt.arith.plan import Plan, PlanLike, resolve, uniform
from dqt.program.inputs import as_inputs, inputs_of
from dqt.program.interpret import Result, execute
from dqt.program.passes import cascaded
from dqt.program.program import Program
from dqt.program.signature import Signature
from tests.native.build import call

Codes: TypeAlias = npt.NDArray[np.int32]
States: TypeAlias = Mapping[str, Codes] | None


@dataclass(frozen=True)
class Engine:
    """How to start the test program: an emulator first, where it is for another processor; and a folder for files."""

    command: tuple[str, ...]
    folder: Path

    def sets(self) -> list[str]:
        """Names of the kernel sets that the processor runs."""
        return call(*self.command, "--isa").split()

    def codes(
        self, isa: str, program: Program, x: Any, plans: Sequence[PlanLike], threads: int = 1, callers: int = 1,
        state: States = None,
    ) -> list[list[Codes]]:  # fmt: skip
        """Under each plan the integer outputs ``[N, *shape]`` in their order, then the states after the run."""
        taken = as_inputs(x, program)
        sizes = inputs_of(program).sizes(taken)
        bound, count = program.bind(**sizes), len(next(iter(taken.values())))
        net, samples, lines, out = (self.folder / name for name in ("net.dqt", "x", "plans", "codes"))
        program.save(net)
        given = [taken[one.name] for one in program.inputs] + (list(state.values()) if state else started(bound, count))
        samples.write_bytes(b"".join(array.tobytes() for array in given))
        lines.write_text("".join(line(program, plan) + "\n" for plan in plans))
        words = (word for item in sizes.items() for word in item)
        call(*self.command, isa, threads, callers, net, count, samples, lines, out, *words)
        values = {value.name: value.shape for value in bound.values}
        shapes = [values[output.value] for output in bound.outputs] + [each.shape for each in bound.states]
        return split(np.fromfile(out, np.int32), [(count, *shape) for shape in shapes] * len(plans), len(plans))

    def cascade(self, isa: str, program: Program, x: Any, plan: Cascade, threads: int = 1) -> Result:
        """The codes and passes of a cascade, whose every pass is a run of the samples that are still unsure."""

        def run(some: Mapping[str, Any], b: int) -> Result:
            ((codes,),) = self.codes(isa, program, some, [b], threads)
            return Result(codes, np.zeros((len(codes), 0), np.int8), np.ones(len(codes), np.int8))

        zero = Signature.of(program).output.zero
        return cascaded(as_inputs(x, program), plan, run, {program.outputs[0].name: zero})


def started(program: Program, count: int) -> list[Codes]:
    """The states before the first run."""
    return [np.full((count, *state.shape), state.zero, np.int32) for state in program.states]


def split(flat: Codes, shapes: Sequence[tuple[int, ...]], parts: int) -> list[list[Codes]]:
    """Arrays of these shapes, which lie one after the other, as so many lists."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    assert len(flat) == ends[-1]
    arrays = [each.reshape(shape) for each, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]
    count = len(shapes) // parts
    return [arrays[i : i + count] for i in range(0, len(arrays), count)]


def integers(program: Program, result: Result) -> list[Codes]:
    """What :meth:`Engine.codes` gives for one plan, of the interpreter's result."""
    codes = result.codes if isinstance(result.codes, dict) else {program.outputs[0].name: result.codes}
    return [codes[output.name] for output in program.outputs] + [result.state[each.name] for each in program.states]


def line(program: Program, plan: PlanLike) -> str:
    """A plan as the test program reads it."""
    space = program.space
    resolved = resolve(space, plan)
    fixed = resolved if isinstance(resolved, Plan) else uniform(space, space.master)
    pairs = [*fixed.values(), *[(space.master, space.master)] * len(space.controller)]
    return ("" if isinstance(resolved, Plan) else "auto ") + " ".join(f"{bw}:{ba}" for bw, ba in pairs)


def check(
    engine: Engine, program: Program, x: Any, plans: Sequence[PlanLike], threads: int = 1, callers: int = 1,
    sets: Sequence[str] = (), state: States = None,
) -> None:  # fmt: skip
    """Every plan, every kernel set, or those of ``sets`` alone: equality."""
    expected = [(plan, execute(program, x, plan, state)) for plan in plans]
    compare(engine, program, x, expected, threads, callers, sets, state)


def compare(
    engine: Engine, program: Program, x: Any, expected: Sequence[tuple[PlanLike, Result]], threads: int = 1,
    callers: int = 1, sets: Sequence[str] = (), state: States = None,
) -> None:  # fmt: skip
    """The same against results that are there; ``sets``: of these kernel sets alone."""
    single = [(plan, integers(program, result)) for plan, result in expected if not isinstance(plan, Cascade)]
    for isa in sets or engine.sets():
        got = engine.codes(isa, program, x, [plan for plan, _ in single], threads, callers, state)
        for found, (plan, right) in zip(got, single, strict=True):
            for one, other in zip(found, right, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=f"{isa} {plan}")
        for cascade, result in expected:
            if isinstance(cascade, Cascade):
                again = engine.cascade(isa, program, x, cascade, threads)
                np.testing.assert_array_equal(again.codes, result.codes, err_msg=f"{isa} {cascade}")
                np.testing.assert_array_equal(again.passes, result.passes, err_msg=f"{isa} {cascade}")
