"""Late decisions in exported programs: C and ONNX give the integers of the interpreter, both runs of a sample too."""

from __future__ import annotations

from pathlib import Path

import pytest

from dqt.testing import extremes, inputs
from tests.export.exported import COMPILERS, SANITIZED, Compiled, assert_same
from tests.export.test_onnx import assert_exact
from tests.program.test_late import mixed


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_c(seed: int, tmp_path: Path, *, again: bool) -> None:
    program = mixed(seed, again)
    compiler = COMPILERS[seed % len(COMPILERS)]
    net = Compiled(program, tmp_path, compiler, *SANITIZED.get(compiler, ()))
    for plan in ("auto", program.space.widths[0]):
        for x in (*(inputs(program, 1, seed + i) for i in range(4)), extremes(program, 1, seed)):
            assert_same(net, x, plan)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_onnx(seed: int, *, again: bool) -> None:
    assert_exact(mixed(seed, again), seed)
