"""The engine for aarch64 under QEMU, each of its kernel sets by name: the interpreter's integers."""

from __future__ import annotations

import pytest

from tests.native.build import ARM, built, emulated, needs
from tests.native.engine import Engine, compare
from tests.runtime.fuzz import trial

pytestmark = [needs(*ARM), pytest.mark.timeout(600)]
SETS = ["neon-i8mm", "neon", "portable"]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    test = built(tmp_path_factory, "aarch64", "engine_test") / "engine_test"
    return Engine(emulated(test), tmp_path_factory.mktemp("engine"))


def test_the_emulated_processor_runs_every_set(engine: Engine) -> None:
    assert engine.sets() == SETS


@pytest.mark.parametrize("first", range(200, 240, 5))
def test_automatic_plans_cascades_and_pairs(first: int, engine: Engine) -> None:
    mixed = 0
    for seed in range(first, first + 5):
        one = trial(seed)
        mixed += one.mixes
        compare(engine, one.program, one.x, one.expected)
    assert mixed, "no batch whose samples chose different widths"
