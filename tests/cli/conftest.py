"""One tiny trained network for every test of the command line, and how a command is called."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dqt
from dqt.cli import main
from dqt.train.data import load

RECIPE = """
[model]
factory = "dqt.train.models:digits_cnn"
args = { planes = [4, 8, 8] }

[data]
spec = "digits"
valid = 40

[network]
widths = [2, 4, 8]
controller = { choices = [2, 4, 8] }

[recipe]
epochs = 1
batch_size = 128
bitops = 0.5
reestimate_batches = 2
"""


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Answer]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def called(*words: object) -> Answer:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return called


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``recipe.toml``, its run in ``runs/mine``, ``net.dqt`` with what it is packed to, and samples.

    Tests do not write here.
    """
    folder = tmp_path_factory.mktemp("made")
    (folder / "recipe.toml").write_text(RECIPE)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["train", "recipe.toml", "--run", "runs/mine", "--json"]) == 0
        assert main(["lower", "runs/mine", "-o", "net.dqt", "--json"]) == 0
        assert main(["pack", "net.dqt", "--width", "4", "--delta", "delta-4-8.dqt", "--json"]) == 0
        assert main(["eval", "net.dqt", "digits", "--limit", "60", "--out", "runs/mine", "--json"]) == 0
    finally:
        os.chdir(before)
    dqt.Cascade((2, 8), (100,)).save(folder / "cascade.json")
    test = load("digits").test
    (folder / "images").mkdir()
    for i in range(4):
        Image.fromarray(test.images[i, 0].numpy()).save(folder / "images" / f"{i}.png")
    np.save(folder / "x.npy", test.inputs(slice(0, 4)).numpy())
    np.save(folder / "pixels.npy", test.images[:4].numpy())
    np.savez(folder / "x.npz", x=test.inputs(slice(0, 4)).numpy(), y=test.labels[:4].numpy())
    return folder
