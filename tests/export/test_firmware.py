"""Programs as C99 for Cortex-M, compiled without a warning and run under QEMU: the interpreter's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import dqt
from dqt.arith.plan import PlanLike
from dqt.export.c99.arena import bytes_of
from dqt.program.layered import Layered
from dqt.program.program import Program
from dqt.testing import extremes, inputs, random_model, random_program, random_transformer
from dqt.testing.cortex import TARGETS, Firmware
from dqt.train.models import resnet20
from tests.export.exported import Arrays, by_name, expected, plans
from tests.native.build import CORTEX, needs

pytestmark = needs(*CORTEX)
each_target = pytest.mark.parametrize("target", TARGETS)


def samples(program: Program, seed: int) -> list[tuple[Arrays, PlanLike]]:
    """A random and an extreme sample at every plan."""
    found: list[tuple[Arrays, PlanLike]] = []
    for i, plan in enumerate(plans(program)):
        found += [(by_name(program, x(program, 1, seed + i)), plan) for x in (inputs, extremes)]
    return found


def check(program: Program, target: str, folder: Path, cases: list[tuple[Arrays, PlanLike]]) -> None:
    """Every sample equals the interpreter's; each run goes on from the states of the one before."""
    answers = Firmware.of(program, TARGETS[target], folder).run(
        [({name: array[0] for name, array in x.items()}, plan) for x, plan in cases]
    )
    state: Arrays | None = None
    for (x, plan), answer in zip(cases, answers, strict=True):
        assert answer.code == 0
        wanted, state = expected(program, x, plan, state)
        for name, array in wanted.items():
            np.testing.assert_array_equal(answer.outputs[name], array, err_msg=f"{name} at {plan}")


@each_target
@pytest.mark.parametrize("seed", range(100, 104))
def test_random_programs(target: str, seed: int, tmp_path: Path) -> None:
    program = random_program(seed, auto=seed % 2 == 0)
    check(program, target, tmp_path, samples(program, seed))


@each_target
def test_several_inputs_outputs_and_states(target: str, tmp_path: Path) -> None:
    program = random_model(2, auto=True)
    check(program, target, tmp_path, samples(program, 2))


@each_target
@pytest.mark.parametrize("seed", [0, 1])
def test_transformers(target: str, seed: int, tmp_path: Path) -> None:
    program = random_transformer(seed, auto=True)
    check(program, target, tmp_path, samples(program, seed))


@each_target
@pytest.mark.parametrize("width", [2, 4])
def test_one_width_alone(target: str, width: int, tmp_path: Path) -> None:
    program = Program.load(dqt.example())
    x = by_name(program, inputs(program, 1, width))
    firmware = Firmware.of(program, TARGETS[target], tmp_path, width=width)
    (answer,) = firmware.run([({name: array[0] for name, array in x.items()}, width)])
    assert answer.code == 0
    np.testing.assert_array_equal(answer.outputs["output"], expected(program, x["input"], width)[0]["output"])


@each_target
def test_the_shipped_network(target: str, tmp_path: Path) -> None:
    program = Program.load(dqt.example())
    check(program, target, tmp_path, samples(program, 0))


def test_resnet20_takes_little_more_than_its_weights_and_its_values(tmp_path: Path) -> None:
    """At every width: flash of at most 48 KiB more than the weights, RAM of at most 1.25 of the two largest values.

    Plans give a layer's weights and activations one width here: constants for others would take 60 KiB more.
    """
    torch.manual_seed(0)
    x = torch.randn(4, 3, 32, 32)
    net = dqt.calibrate(dqt.prepare(resnet20().eval(), x[:2]), [x], unlike_widths=False)
    program = dqt.lower(net)
    firmware = Firmware.of(program, TARGETS["cortex-m4"], tmp_path)
    weights = sum(op.weight.size for op in program.ops if isinstance(op, Layered))
    assert weights < firmware.flash() <= weights + 48 * 1024
    assert firmware.ram() <= 1.25 * sum(sorted(map(bytes_of, program.values))[-2:])
