"""Real networks as ONNX models of integers: ONNX Runtime gives the interpreter's integers, without a tolerance."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import dqt
from dqt.export.file import integer_model
from dqt.program.program import Program
from dqt.testing import networks, zoo
from dqt.train.models import resnet20
from tests.export.exported import pairs
from tests.export.test_onnx import LEVELS, assert_equal, defined, fed, served

MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet20": (resnet20, 32),
    "mobilenet_v2": (lambda: zoo.torchvision().models.mobilenet_v2(weights=None), 64),
    "efficientnet_lite0": (lambda: zoo.timm().create_model("efficientnet_lite0", pretrained=False), 64),
}


def lowered(make: Callable[[], nn.Module], side: int) -> Program:
    torch.manual_seed(0)
    model = make().eval()
    networks.unsettle(model)
    x = torch.randn(4, 3, side, side)
    net = dqt.prepare(model, x[:2], dqt.Config(controller=dqt.Controller(choices=(2, 4, 8)), widths=(2, 4, 8)))
    return dqt.lower(dqt.calibrate(net, [x]))


@pytest.mark.parametrize("name", MODELS)
def test_a_network_gives_the_interpreters_integers(name: str) -> None:
    program = lowered(*MODELS[name])
    x = torch.randn(2, *program.input_shape, generator=torch.Generator().manual_seed(1)).numpy()
    for plan in (2, pairs(program), "auto"):
        wanted, model = defined(program, x, plan), integer_model(program, plan)
        for level in (LEVELS[0], LEVELS[-1]):
            assert_equal(served(model, fed(program, x), level), wanted)
