"""Random programs: every operator, the same for the same seed, samples at both ends, and no torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dqt.program.file import dumps
from dqt.program.interpret import execute, interpret
from dqt.program.operator import operators
from dqt.program.ops.quantize import Quantize
from dqt.testing import Builder, extremes, inputs, random_late, random_model, random_program, random_transformer


def test_the_seed_decides_everything() -> None:
    for auto in (False, True):
        assert dumps(random_program(3, auto=auto)) == dumps(random_program(3, auto=auto))
    assert dumps(random_program(3)) != dumps(random_program(4))


def test_every_operator_comes_up() -> None:
    seen = {type(op) for seed in range(40) for op in random_program(seed, auto=bool(seed % 2)).ops}
    seen |= {type(op) for op in (*random_late(0, again=True).ops, *random_model(0).ops, *random_transformer(0).ops)}
    assert seen == set(operators().values())


@pytest.mark.parametrize("seed", range(10))
def test_inputs_reach_every_code_and_extremes_only_the_ends(seed: int) -> None:
    program = random_program(seed)
    top = (1 << program.space.master) - 1
    quantize, value, shape = program.ops[0], program.values[0], program.input_shape
    assert isinstance(quantize, Quantize)
    axis = tuple(-1 if i == quantize.axis else 1 for i in range(3))
    gain, bias = quantize.gain.reshape(axis), quantize.bias.reshape(axis)
    codes = np.rint(inputs(program, 200) * gain + bias).astype(int) + value.zero
    assert codes.min() < 0 < top < codes.max()
    far = extremes(program, 3)
    assert far.shape == (3, *shape)
    assert set(np.abs(far).ravel()) == {np.float32(1e9)}
    assert execute(program, far, None).codes.shape[0] == 3


def test_the_example_of_the_builder() -> None:
    b = Builder(seed=0, shape=(3, 8, 8))
    x = b.conv("v0", 16)
    x = b.linear(b.flatten(b.avg_pool(x)), 10, integers=True)
    program = b.build(x)
    assert interpret(program, inputs(program, 2), 4).shape == (2, 10)


def test_programs_need_no_torch() -> None:
    code = "import sys; import dqt.testing; dqt.testing.random_program(0); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
