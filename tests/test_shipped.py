"""The example that ships is the network of its card."""

from pathlib import Path

import numpy as np

import dqt
from bench.evidence.card import CARD, card, shipped
from dqt.program.interpret import interpret

ROOT = Path(__file__).parents[1]


def test_the_example_loads_and_runs_at_every_width() -> None:
    program = dqt.Program.load(dqt.example())
    assert program.space.widths == (2, 3, 4, 5, 6, 7, 8)
    x = np.random.default_rng(0).normal(size=(3, *program.input_shape)).astype(np.float32)
    run = dqt.Runtime(program, threads=1)
    for b in program.space.widths:
        np.testing.assert_array_equal(run(x, b), interpret(program, x, b))


def test_it_chooses_widths_by_input() -> None:
    program = dqt.Program.load(dqt.example())
    x = np.random.default_rng(1).normal(size=(8, *program.input_shape)).astype(np.float32)
    np.testing.assert_array_equal(dqt.Runtime(program, threads=1)(x, "auto"), interpret(program, x, "auto"))


def test_the_card_is_that_of_the_records() -> None:
    network, controller = shipped(ROOT / "bench/results/evidence")
    assert (ROOT / CARD).read_text() == card(network, controller)
    assert dqt.example().stat().st_size == controller.program_bytes
