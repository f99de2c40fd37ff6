"""The float models: shapes, sizes, and the names that public weights carry."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dqt.nn.prepare import prepare
from dqt.train.models import Block, digits_cnn, fashion_cnn, resnet18_cifar, resnet20, resnet56, wide_cnn


@pytest.mark.parametrize(
    ("model", "shape", "count"),
    [
        (resnet20(), (3, 32, 32), 269_722),  # He et al., table 6: 0.27 M
        (resnet56(), (3, 32, 32), 853_018),  # 0.85 M
        (resnet18_cifar(), (3, 32, 32), 11_173_962),
        (wide_cnn(), (3, 32, 32), 779_210),
        (digits_cnn(), (1, 8, 8), 75_002),
        (fashion_cnn(), (1, 28, 28), 172_218),
    ],
)
def test_shapes_and_sizes(model: nn.Module, shape: tuple[int, int, int], count: int) -> None:
    assert model(torch.zeros(2, *shape)).shape == (2, 10)
    assert sum(p.numel() for p in model.parameters()) == count


def test_names_are_those_of_the_public_weights() -> None:
    names = set(resnet20().state_dict())
    assert {"conv1.weight", "layer2.0.conv1.weight", "layer3.2.bn2.running_var", "linear.bias"} <= names
    assert not any("shortcut" in name or "downsample" in name for name in names)


def test_the_shortcut_takes_every_second_pixel_and_pads_channels_with_zero() -> None:
    block = Block(4, 8, 2).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 4, 6, 6)
    out = block(x)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


def test_resnet18_can_be_prepared_and_costs_what_it_says() -> None:
    space = prepare(resnet18_cifar(), (torch.zeros(2, 3, 32, 32),)).space
    assert sum(layer.macs for layer in space.layers) == 555_422_720  # 0.56 G
    assert sum(layer.weights for layer in space.layers) == 11_164_352


def test_the_wide_network_costs_what_it_says() -> None:
    space = prepare(wide_cnn(), (torch.zeros(2, 3, 32, 32),)).space
    assert sum(layer.macs for layer in space.layers) == 23_447_424
    assert [layer.edge for layer in space.layers] == [True, False, False, False, False, True]
