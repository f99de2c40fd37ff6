"""Data sets whose samples are rows of columns, as Hugging Face's are, in fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

import dqt
from dqt.data.errors import DataError
from dqt.train.recipe import Recipe
from dqt.train.sources import source_of

from .trainers import needs

RECIPE = Recipe(epochs=2, batch_size=8, lr=0.05, reestimate_batches=1, calibration_batches=1)


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    def __init__(self, **columns: Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {name: values[i] for name, values in self.columns.items()}


def batch_of(data: Any) -> tuple[Any, Tensor]:
    return next(iter(source_of(data, RECIPE).batches([torch.tensor([1, 3])])))


@pytest.mark.parametrize("name", ["label", "labels"])
def test_the_labels_are_a_column(name: str) -> None:
    x, y = torch.randn(10, 4), torch.arange(10)
    rows = Rows(features=x, **{name: y})
    for data in (rows, DataLoader(rows, batch_size=5)):
        inputs, labels = batch_of(data)
        assert torch.equal(inputs, x[[1, 3]])
        assert torch.equal(labels, y[[1, 3]])


def test_several_inputs_keep_their_names() -> None:
    inputs, _ = batch_of(Rows(a=torch.randn(10, 4), b=torch.randn(10, 2), label=torch.arange(10)))
    assert inputs.keys() == {"a", "b"}


def test_columns_that_cannot_be() -> None:
    with pytest.raises(DataError, match="columns a, target: the dataset must have labels"):
        batch_of(Rows(a=torch.randn(10, 4), target=torch.arange(10)))
    with pytest.raises(DataError, match="columns label"):
        batch_of(Rows(label=torch.arange(10)))


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip


def test_hugging_faces_data_set_of_a_folder_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have ImageNet: ``load_dataset("imagefolder", ...)``, a transform, and ``fit``; resumed half way."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (datasets,) = needs("datasets")
    rng = np.random.default_rng(1)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "set" / "train" / name).mkdir(parents=True)
        for i in range(16):
            pixels = rng.integers(120 * label, 120 * label + 100, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / "train" / name / f"{i}.png")
    cache = str(tmp_path / "cache")
    held = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "set"), split="train", cache_dir=cache)

    def inputs(rows: dict[str, list[Any]]) -> dict[str, Any]:
        arrays = [torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image in rows["image"]]
        return {"pixels": torch.stack(arrays), "label": rows["label"]}

    data = held.with_transform(inputs)
    net = dqt.prepare(small(), torch.rand(2, 3, 12, 12), dqt.Config(widths=(2, 8), input_signed=False))
    history = dqt.fit(net, data, data, RECIPE, run_dir=tmp_path / "run", progress=False)
    assert history.accuracy["8"] > 0.9
    again = dqt.fit(net, data, data, RECIPE, run_dir=tmp_path / "run", progress=False, resume=True)
    assert again.accuracy == history.accuracy
