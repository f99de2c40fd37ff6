"""Packed programs in the native engine, from an object and from a file, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dqt
from dqt.arith.errors import PlanError
from dqt.program.interpret import execute
from dqt.runtime.runtime import kernel_sets
from dqt.testing import inputs, random_model, random_program
from tests.program.test_pack import WIDTHS, plans, sample


@pytest.mark.parametrize("isa", kernel_sets())
@pytest.mark.parametrize("width", WIDTHS)
def test_the_engine_gives_the_integers_of_the_whole_program(width: int, isa: str, tmp_path: Path) -> None:
    program, x = sample(), inputs(sample(), 9)
    program.pack(width).save(tmp_path / "net.dqt")
    runs = [dqt.Runtime(given, threads=2, isa=isa) for given in (tmp_path / "net.dqt", program.pack(width))]
    for plan in plans(program, width):
        expected = execute(program, x, plan)
        for run in runs:
            got = run.execute(x, plan)
            np.testing.assert_array_equal(got.codes, expected.codes)
            np.testing.assert_array_equal(got.widths, expected.widths)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs(seed: int) -> None:
    program = random_program(seed, auto=seed % 2 == 1)
    x = inputs(program, 4)
    for width in program.space.widths:
        run = dqt.Runtime(program.pack(width), threads=1)
        for b in run.program.space.held:
            np.testing.assert_array_equal(run.codes(x, b), execute(program, x, b).codes)


def test_named_dimensions() -> None:
    program = random_model(2)
    (height,) = program.dims
    least = program.space.widths[0]
    run = dqt.Runtime(program.pack(least), threads=1)
    for size in (height.least, height.most):
        x = inputs(program, 3, 0, {height.name: size})
        got, expected = run.session(3)(x), dqt.interpret(program, x, least)[0]
        for name, y in expected.items():
            np.testing.assert_array_equal(got[name], y)


def test_what_a_file_does_not_hold_is_refused(tmp_path: Path) -> None:
    sample().pack(3).save(tmp_path / "net.dqt")
    run, x = dqt.Runtime(tmp_path / "net.dqt", threads=1), inputs(sample(), 2)
    for plan in (4, 8, "auto", dqt.Cascade((2, 4), (3,)), dict.fromkeys(run.program.layers, 4)):
        with pytest.raises(PlanError, match="packed to 3 bits"):
            run(x, plan)
    np.testing.assert_array_equal(run(x), dqt.interpret(sample(), x, 3))  # without a plan: the widest that it holds


def test_the_engine_itself_refuses_weights_that_are_not_there() -> None:
    engine = dqt.Runtime(sample().pack(3), threads=1)._engine
    layers = len(sample().space.layers) + len(sample().space.controller)
    with pytest.raises(ValueError, match="weights are packed to fewer bits"):
        engine.widths([8] * layers, [8] * layers, False)
