"""Training from a folder of pictures that are read one by one, to the program that is served."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dqt.cli import main
from dqt.data.errors import DataError
from dqt.train.pictures import cropped, load_pictures

RUN = """
[model]
factory = "models.py:Small"

[data]
spec = "imagefolder=set"
valid = 4
size = 12

[network]
widths = [2, 4, 8]

[recipe]
epochs = 2
batch_size = 8
lr = 0.05
reestimate_batches = 1
"""
MODEL = """
from torch import nn

class Small(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
        )
"""


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dark and bright pictures of several sizes."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for part, count in (("train", 12), ("val", 5)):
        for label, name in enumerate(("dark", "light")):
            (Path("set") / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(120 * label, 120 * label + 100, (14 + i, 20 - i, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(f"set/{part}/{name}/{i}.png")


def test_a_folder_is_split_as_run_files_say() -> None:
    splits = load_pictures("imagefolder=set", valid=4, crop=12, resize=14)
    assert splits.valid is not None
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (20, 4, 10)
    assert not set(splits.train.index.tolist()) & set(splits.valid.index.tolist())
    assert splits.valid.labels.tolist() == [0, 0, 1, 1]
    assert (splits.train.random, splits.valid.random, splits.test.random) == (True, False, False)
    x, label = splits.test[7]
    assert (tuple(x.shape), x.dtype, label) == ((3, 12, 12), torch.float32, 1)


def test_random_crops_follow_torch_s_seed() -> None:
    train = load_pictures("imagefolder=set", crop=12, resize=14).train

    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.stack([train[0][0] for _ in range(4)])

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))
    assert len({tuple(x.flatten().tolist()) for x in drawn(0)}) == 4
    assert cropped(Image.new("RGB", (300, 4)), 12).size == (12, 12)  # no crop of a legal ratio is drawn: the middle


def test_folders_of_other_classes_are_refused() -> None:
    Path("set/val/dark").rename("set/val/dim")
    with pytest.raises(DataError, match="class 'dark' has no folder among the test pictures"):
        load_pictures("imagefolder=set", crop=12, resize=14)
    with pytest.raises(DataError, match="need the folders train and val"):
        load_pictures("imagefolder=set/train", crop=12, resize=14)


def test_from_a_folder_to_the_program_that_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    Path("models.py").write_text(MODEL)
    Path("run.toml").write_text(RUN)
    assert main(["train", "run.toml", "--run", "run", "--json"]) == 0
    assert main(["lower", "run", "-o", "net.dqt", "--json"]) == 0
    assert main(["search", "run", "--bitops", "0.9", "-o", "plan.json", "--json"]) == 0
    capsys.readouterr()
    assert main(["eval", "net.dqt", "imagefolder=set", "--processes", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == 10
    assert [row["bits"] for row in found["rows"]] == [8, 4, 2]
    assert found["rows"][0]["accuracy_integer"] > 0.5
