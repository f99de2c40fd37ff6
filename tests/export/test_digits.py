"""Handwritten digits, exported: the interpreter's integers in ONNX Runtime, in C and on a Cortex-M4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import dqt
from dqt.export.file import integer_model
from dqt.program.program import Program
from dqt.testing.cortex import TARGETS, Firmware
from dqt.train.data import load
from dqt.train.models import digits_cnn
from tests.export.exported import Compiled, assert_same, expected, plans
from tests.export.test_onnx import LEVELS, assert_equal, defined, fed, served
from tests.native.build import CORTEX, needs

Images = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def digits() -> tuple[Program, Images]:
    """The program and some test images."""
    torch.manual_seed(0)
    data = load("digits")
    x = data.train.inputs()[:64]
    net = dqt.calibrate(dqt.prepare(digits_cnn().eval(), x[:2]), [x])
    return dqt.lower(net), data.test.inputs()[:5].numpy()


def test_onnx(digits: tuple[Program, Images]) -> None:
    program, x = digits
    for plan in plans(program):
        wanted, model = defined(program, x, plan), integer_model(program, plan)
        for level in LEVELS:
            assert_equal(served(model, fed(program, x), level), wanted)


def test_c(digits: tuple[Program, Images], tmp_path: Path) -> None:
    program, x = digits
    net = Compiled(program, tmp_path, "gcc", "-fsanitize=undefined", "-fno-sanitize-recover=all")
    for plan in plans(program):
        for image in x:
            assert_same(net, image[None], plan)


@needs(*CORTEX)
def test_cortex_m4(digits: tuple[Program, Images], tmp_path: Path) -> None:
    program, x = digits
    cases = [({program.inputs[0].name: image}, plan) for plan in plans(program) for image in x]
    answers = Firmware.of(program, TARGETS["cortex-m4"], tmp_path).run(cases)
    for (given, plan), answer in zip(cases, answers, strict=True):
        (image,), (got,) = given.values(), answer.outputs.values()
        (wanted,) = expected(program, image[None], plan)[0].values()
        assert answer.code == 0
        np.testing.assert_array_equal(got, wanted, err_msg=str(plan))
