"""Networks without training: accuracy, or agreement with the float network, by width and by method of calibration.

CIFAR-10 ResNets, calibrated on training images, are judged on test images that no constant of the library was chosen
on. MobileNetV2 is judged by its agreement with the float network, because the samples of ImageNet may be training
images. The engine computes; it has the integers of ``dqt.interpret``.

    python -m bench.untrained --data DIR [resnet20] [mobilenet_v2] [resnet56]
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import dqt
from bench.common import CIFAR10, RESULTS, Check, parser, write
from dqt.testing.zoo import torchvision
from dqt.train.build import float_model
from dqt.train.data import load
from dqt.train.models import resnet20, resnet56
from dqt.train.recipe import ModelPart

WIDTHS = (8, 7, 6, 5, 4, 3, 2)
METHODS, IMAGES, BATCH = ("best", "fast"), 256, 128
SKIPPED, JUDGED = 1000, 3000
"""Test images at the beginning that a constant of the adaptive rounding was chosen on; how many after them judge."""
SAMPLES, SAMPLE_BATCH = 100, 25
BELOW_FLOAT = {4: 0.5, 3: 2.5}
AT_2_BITS = 80.0
AGREE = {8: 97.0, 6: 92.0, 5: 80.0}
FACTORIES = {"resnet20": resnet20, "resnet56": resnet56}


def main() -> None:
    """Measure the networks that are named, and write the record after each: it keeps the others."""
    options = parser(__doc__, data=True)
    options.add_argument("networks", nargs="*", default=["resnet20", "mobilenet_v2", "resnet56"])
    options.add_argument("--shared", type=Path, required=True, help="folder of the float weights")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "untrained.json"
    settings = {"batch": BATCH, "skipped": SKIPPED, "threads": 1}
    for name in arguments.networks:
        found = measured(name, arguments)
        results: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
        results[name] = found
        write("untrained", settings=settings, results=results, checks=checks(results))


def measured(name: str, arguments: Any) -> dict[str, Any]:
    """One network."""
    if name == "mobilenet_v2":
        return mobilenet(arguments.data, arguments.shared)
    return cifar(name, arguments.data, arguments.shared)


def cifar(name: str, data: Path, shared: Path) -> dict[str, Any]:
    """Top-1 in percent, by method."""
    splits = load(f"cifar10={data / CIFAR10}")
    weights = str(shared / f"cifar10-{name}.safetensors")
    model = float_model(ModelPart(factory=f"dqt.train.models:{name}", weights=weights)).eval()
    judged = slice(SKIPPED, SKIPPED + JUDGED)
    x, labels = splits.test.inputs(judged), splits.test.labels[judged]
    found: dict[str, Any] = {"float": percent(outputs(lambda part: model(part).numpy(), x) == labels), "judged": len(x)}
    found["images"], parts = IMAGES, torch.split(splits.train.inputs(slice(0, IMAGES)), BATCH)
    for method in METHODS:
        found[method] = calibrated(model, parts, method, x, labels)
    return found


def calibrated(model: nn.Module, parts: Any, method: Any, x: Tensor, expected: Tensor) -> dict[str, Any]:
    """Part of ``x`` on which the program's answer is ``expected``, in percent, by width; seconds of one core."""
    net = dqt.prepare(model, x[:2]).eval()
    start = time.process_time()
    dqt.calibrate(net, parts, method=method, ranges="per_width")
    seconds = round(time.process_time() - start, 1)
    run = dqt.Runtime(dqt.lower(net), threads=1)
    right = {str(b): percent(outputs(partial(_served, run, b), x) == expected) for b in WIDTHS}
    print(f"{method}: {right}, {seconds} s", flush=True)
    return {"right": right, "seconds": seconds}


def _served(run: dqt.Runtime, b: int, x: Tensor) -> Any:
    return run(x.numpy(), b)


@torch.no_grad()
def outputs(run: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """Answers of ``run``, int64 ``[N]``."""
    return torch.from_numpy(np.concatenate([np.argmax(run(part), 1) for part in torch.split(x, 100)]))


def percent(right: Tensor) -> float:
    """Of the true ones."""
    return round(100 * float(right.double().mean()), 2)


def mobilenet(data: Path, shared: Path) -> dict[str, Any]:
    """Agreement with the float network on samples that did not calibrate, in percent."""
    files = sorted((data / "imagenet-samples").rglob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(files))
    x = torch.stack([pixels(files[i]) for i in order])
    model = coral_mobilenet(shared)
    answers = outputs(lambda part: model(part).numpy(), x)
    parts = torch.split(x[:SAMPLES], SAMPLE_BATCH)
    found = calibrated(model, parts, "fast", x[SAMPLES:], answers[SAMPLES:])
    return {"judged": len(x) - SAMPLES, "images": SAMPLES, "fast": found}


def pixels(path: Path) -> Tensor:
    """The middle 224 x 224 of a sample of 256 x 256, in [-1, 1], float32 ``[3, 224, 224]``."""
    with Image.open(path) as image:
        cut = image.convert("RGB").crop((16, 16, 240, 240))
    return torch.from_numpy(np.asarray(cut).copy()).permute(2, 0, 1).float() / 127.5 - 1


def coral_mobilenet(shared: Path) -> nn.Module:
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


def checks(results: dict[str, Any]) -> list[Check]:
    """The targets of the networks that are there."""
    made = []
    for name in FACTORIES:
        if name not in results:
            continue
        right, reference = results[name]["best"]["right"], results[name]["float"]
        for b, points in BELOW_FLOAT.items():
            made.append(
                Check(f"{name}: points below float at {b} bits", round(reference - right[str(b)], 2), "<=", points)
            )
        made.append(Check(f"{name}: top-1 at 2 bits", right["2"], ">=", AT_2_BITS))
    if "mobilenet_v2" in results:
        right = results["mobilenet_v2"]["fast"]["right"]
        made += [Check(f"MobileNetV2: agreement at {b} bits", right[str(b)], ">=", least) for b, least in AGREE.items()]
    return made


if __name__ == "__main__":
    main()
