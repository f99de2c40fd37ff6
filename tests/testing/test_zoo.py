"""The model zoos can be imported beside the pinned torch."""

import torch

from dqt.testing.zoo import timm, torchvision


def test_torchvision_models_run() -> None:
    model = torchvision().models.mobilenet_v2().eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


def test_timm_models_run() -> None:
    model = timm().create_model("resnet10t").eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
