"""torchvision's own models, untouched, through prepare, calibrate, lower and interpret."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dqt.lower.emit import lower
from dqt.nn.calibrate import calibrate
from dqt.nn.config import Config
from dqt.nn.prepare import prepare
from dqt.nn.run import Run
from dqt.program.interpret import interpret
from dqt.testing.networks import unsettle
from dqt.testing.zoo import torchvision

SIZES = {"resnet18": 64, "resnet50": 48, "mobilenet_v2": 64, "shufflenet_v2_x0_5": 64}


@pytest.mark.parametrize("name", SIZES)
def test_served_as_it_is_computed(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision().models.get_model(name, weights=None, num_classes=20).eval()
    unsettle(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(3, 3, SIZES[name], SIZES[name])
    with torch.no_grad():
        expected = model(x)
    net = prepare(model, x, Config(widths=(2, 4, 8))).eval()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        plain = net._run(x, Run({}, quantized=False), False)
    torch.testing.assert_close(plain, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    calibrate(net, [x])
    program = lower(net)
    mixed = {layer: ((2, 8), (8, 4), (4, 4))[i % 3] for i, layer in enumerate(net.layers)}
    plans: tuple[Any, ...] = (8, 2, mixed)
    for plan in plans:
        np.testing.assert_array_equal(interpret(program, x, plan), net(x, plan, exact=True).numpy())
    error = (net(x, 8, exact=True) - expected).norm() / expected.norm()
    assert error < 0.35, error


def test_what_resnet50_costs() -> None:
    """The figures that the field counts with, at 224x224."""
    model = torchvision().models.resnet50(weights=None).eval()
    net = prepare(model, torch.zeros(1, 3, 224, 224), Config(widths=(8,)))
    layers = net.space.layers
    convolutions = [layer for layer in layers if layer.name != "fc"]
    assert sum(layer.macs for layer in layers) == 4_089_184_256
    assert sum(layer.weights for layer in layers) == 25_502_912
    assert sum(layer.weights for layer in convolutions) == 23_454_912
    assert round(sum(layer.inputs for layer in convolutions) / 1e6, 2) == 10.66
    assert round(sum(layer.outputs for layer in convolutions) / 1e6, 2) == 11.11
    assert [layer.name for layer in layers if layer.edge] == ["conv1", "fc"]
