"""The engine for aarch64 under QEMU, each of its kernel sets by name: the interpreter's integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dqt.arith.plan import PlanLike
from dqt.program.interpret import execute, interpret
from dqt.testing import inputs, random_program, random_transformer
from tests.native.build import ARM, built, call, emulated, needs
from tests.native.engine import Engine, check, compare
from tests.runtime.fuzz import pairs, trial

pytestmark = [needs(*ARM), pytest.mark.timeout(1500)]
SETS = ["neon-i8mm", "neon"]
SOME = 6


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory, "aarch64", "engine_test", "run")


@pytest.fixture(scope="session")
def engine(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(emulated(folder / "engine_test"), tmp_path_factory.mktemp("engine"))


def test_the_emulated_processor_runs_every_set(engine: Engine) -> None:
    assert engine.sets() == [*SETS, "portable"]


@pytest.mark.parametrize("first", range(1000, 1000 + 8 * SOME, SOME))
def test_automatic_plans_cascades_and_pairs(first: int, engine: Engine) -> None:
    """On one thread: emulated threads wait for each other by turns of a busy processor."""
    trials = [trial(seed) for seed in range(first, first + SOME)]
    for each in trials:
        compare(engine, each.program, each.x, each.expected, sets=SETS)
    assert any(each.mixes for each in trials), "no batch whose samples chose different widths"


@pytest.mark.parametrize("seed", range(6))
def test_transformers(seed: int, engine: Engine) -> None:
    program = random_transformer(seed, auto=seed % 3 == 0)
    x = inputs(program, 2, seed, {"length": program.dims[0].most})
    plans: list[PlanLike] = ["auto"] if program.choose else [None, pairs(program, seed), program.space.widths[0]]
    compare(engine, program, x, [(plan, execute(program, x, plan)) for plan in plans], sets=SETS)


def test_two_threads(engine: Engine) -> None:
    program = random_program(3, auto=True)
    check(engine, program, inputs(program, 5), ["auto", program.space.master], threads=2)


@pytest.mark.parametrize("seed", [3, 5])
def test_the_c_example(seed: int, folder: Path, tmp_path: Path) -> None:
    program = random_program(seed, auto=True)
    x = inputs(program, 6)
    program.save(tmp_path / "net.dqt")
    x.tofile(tmp_path / "x.f32")
    for plan in (program.space.master, "auto"):
        call(*emulated(folder / "run"), tmp_path / "net.dqt", tmp_path / "x.f32", plan, tmp_path / "y.f32")
        expected = interpret(program, x, plan)
        np.testing.assert_array_equal(np.fromfile(tmp_path / "y.f32", np.float32).reshape(expected.shape), expected)
