"""Late decisions in the native engine: every kernel set, threads and batches give the interpreter's integers."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dqt.program.interpret import execute
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.runtime import kernel_sets
from dqt.testing import extremes, inputs
from tests.program.test_late import mixed

ISAS = kernel_sets()


def check(program: Program, x: Any, **arguments: Any) -> None:
    found, wanted = Runtime(program, **arguments).execute(x, "auto"), execute(program, x, "auto")
    assert_array_equal(found.codes, wanted.codes)
    assert_array_equal(found.widths, wanted.widths)
    assert_array_equal(found.passes, wanted.passes)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("seed", range(16))
def test_random_programs(seed: int, isa: str, *, again: bool) -> None:
    program = mixed(seed, again)
    check(program, inputs(program, 7, seed), isa=isa, threads=1 + seed % 2)
    check(program, extremes(program, 2, seed), isa=isa)


@pytest.mark.parametrize("again", [False, True])
def test_batches_larger_than_a_slice(again: bool) -> None:
    for seed in range(4):
        program = mixed(seed, again)
        check(program, inputs(program, 150, seed), threads=2)


def test_floats_widths_and_copies_agree() -> None:
    program = mixed(3, again=True)
    x, run = inputs(program, 9, 3), Runtime(program)
    y, widths = run(x, "auto", return_widths=True)
    result = execute(program, x, "auto")
    assert_array_equal(y, run.dequantized(result.codes))
    assert_array_equal(widths, result.widths)
    assert_array_equal(pickle.loads(pickle.dumps(run))(x, "auto"), y)
    seconds = run.profile(x, "auto")
    assert len(seconds) == len(program.ops)
    assert all(np.isfinite(seconds))
