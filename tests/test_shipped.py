"""The example that ships runs at every width and chooses widths by input."""

import numpy as np

import dqt
from dqt.program.interpret import interpret


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
