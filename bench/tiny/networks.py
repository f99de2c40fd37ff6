"""The networks as integer programs, with the weights of the float TFLite files; kept as ``.dqt`` in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import dqt
from bench.common import CIFAR10, RESNET20
from bench.tiny.tflite import TFLite
from dqt.data.arrays import Part
from dqt.data.formats import cifar10
from dqt.program.program import Program
from dqt.train.build import float_model
from dqt.train.recipe import ModelPart

FLOATS = {
    "resnet8": "pretrainedResnet.tflite", "keywords": "kws_ref_model_float32.tflite", "anomalies": "ad01_fp32.tflite",
}  # fmt: skip
"""Network -> its float file."""
INT8 = {"resnet8": "pretrainedResnet_quant.tflite", "keywords": "kws_ref_model.tflite", "anomalies": "ad01_int8.tflite"}
"""Network -> the file of MLPerf Tiny with 8-bit integers."""
NAMES = (*FLOATS, "resnet20")
CALIBRATION = 512
FOLDER = "mlperf-tiny"


def network(name: str, data: Path, folder: Path) -> Program:
    """The program of ``name``, from ``folder`` if it is there."""
    path = folder / f"{name}.dqt"
    if not path.exists():
        torch.manual_seed(0)
        model, x = float_network(name, data).eval(), samples(name, data)
        net = dqt.prepare(model, x[:2])
        dqt.calibrate(net, list(torch.split(x, 128)), unlike_widths=False)  # less flash
        folder.mkdir(parents=True, exist_ok=True)
        dqt.lower(net).save(path)
    return Program.load(path)


def float_network(name: str, data: Path) -> nn.Module:
    """The float network."""
    if name == "resnet20":
        return float_model(ModelPart(factory="dqt.train.models:resnet20", weights=str(data / RESNET20)))
    return TFLite(data / FOLDER / FLOATS[name])


def samples(name: str, data: Path, part: str = "train", count: int = CALIBRATION) -> Tensor:
    """Inputs as the float network takes them; smooth noise where there is no data set of it."""
    if name.startswith("resnet"):
        pixels = torch.from_numpy(np.ascontiguousarray(images(data, part).x[:count]))
        if name == "resnet8":  # raw pixels
            return pixels.float()
        mean, std = (torch.tensor(k).view(3, 1, 1) for k in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        return (pixels.float() / 255 - mean) / std
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 1, 12, 4, generator=generator)
    if name == "keywords":  # 49 frames of 10 coefficients of a spectrum
        return 20 * nn.functional.interpolate(coarse, size=(49, 10), mode="bilinear", align_corners=False)
    return 10 * nn.functional.interpolate(coarse.flatten(2), size=640, mode="linear").flatten(1) - 10


def images(data: Path, part: str) -> Part:
    """CIFAR-10: pixels uint8 ``[N, 3, 32, 32]`` and labels of the training or of the test images."""
    arrays = cifar10(data / CIFAR10)
    found = arrays.train if part == "train" else arrays.test
    assert found is not None
    return found
