"""``dqt doctor``: every way to name a model and its data, and what cannot be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dqt.train.models import digits_cnn

from .conftest import Call

MODELS = """
import torch
from torch import nn

small = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 4), nn.Embedding(10, 4), nn.Linear(4, 2)
    def forward(self, x, tokens):
        return self.c(self.a(x).relu() + self.b(tokens).mean(1))

class Sorted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 4, 3), nn.Linear(4, 10)
    def forward(self, x):
        y = torch.sort(self.conv(x).mean((2, 3)), dim=1).values
        return self.linear(y.kthvalue(2, 1, True).values.expand(-1, 4))
"""


@pytest.fixture(autouse=True)
def _here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("recipe.toml", "runs"):
        Path(name).symlink_to(made / name)
    Path("models.py").write_text(MODELS)
    x = np.random.default_rng(0).standard_normal((40, 3, 8, 8)).astype(np.float32)
    np.savez("own.npz", x=x, y=np.arange(40) % 3)
    save_file(digits_cnn(planes=(4, 8, 8)).state_dict(), "weights.safetensors")
    example = (torch.randn(4, 1, 8, 8),)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(digits_cnn(planes=(4, 8, 8)).eval(), example, dynamic_shapes=({0: batch},))
    torch.export.save(program, "model.pt2")


@pytest.mark.parametrize(
    ("words", "samples", "data", "widths"),
    [
        (["models.py:small", "npz=own.npz", "--widths", "8,3"], 32, True, [8, 3]),
        (["models.py:small", "--shape", "3x16x16"], 8, False, [8, 7, 6, 5, 4, 3, 2]),
        (["models.py:Pair", "--shape", "6", "--shape", "5:10", "--widths", "4,8"], 8, False, [8, 4]),
        (["dqt.train.models:digits_cnn", "digits", "--samples", "20", "--widths", "8"], 20, True, [8]),
        (["recipe.toml", "--samples", "20", "--weights", "weights.safetensors"], 20, True, [8, 4, 2]),
        (["runs/mine", "--samples", "20"], 20, True, [8, 4, 2]),
        (["model.pt2", "digits", "--samples", "20", "--widths", "8"], 20, True, [8]),
        (["model.pt2", "--widths", "8"], 4, False, [8]),
    ],
)
def test_every_way_to_name_a_model(words: list[str], samples: int, data: bool, widths: list[int], call: Call) -> None:
    done = call("doctor", *words, "--json")
    assert done.code == 0, done.err
    found: Any = done.json
    assert found["goes"]
    assert (found["samples"], found["data"]) == (samples, data)
    assert [int(b) for b in found["costs"]] == widths
    assert all(layer["accumulator_bits"] <= 32 for layer in found["layers"])


@pytest.mark.parametrize("name", ["deep/beside_main.py:make", "pack_of_mine.models:make"])
def test_a_model_finds_the_modules_beside_it(name: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the folder of a file, and of a package in the working directory, as ``python`` finds them."""
    monkeypatch.setattr("sys.path", [*sys.path])
    for folder, file, of in (("deep", "beside_main.py", "beside_parts"), ("pack_of_mine", "models.py", ".parts")):
        Path(folder).mkdir()
        Path(folder, "__init__.py").touch()
        Path(folder, f"{of.removeprefix('.')}.py").write_text(MODELS)
        Path(folder, file).write_text(f"def make():\n    from {of} import Pair\n    return Pair()\n")
    done = call("doctor", name, "--shape", "6", "--shape", "5:10", "--widths", "8", "--json")
    assert done.code == 0, done.err


def test_the_table_for_people(call: Call) -> None:
    done = call("doctor", "recipe.toml", "--samples", "20")
    assert done.code == 0, done.err
    assert done.out.startswith("the model goes through")
    assert "same class" in done.out


def test_a_model_that_does_not_go_through(call: Call) -> None:
    done = call("doctor", "models.py:Sorted", "--shape", "1x8x8")
    assert done.code == 1
    assert done.out.startswith("the model does not go through: 2 obstacles")
    assert "aten.sort.default" in done.out
    assert "models.py" in done.out
    assert done.err == ""
    wrong = call("doctor", "models.py:small", "--shape", "4x8x8")
    assert wrong.code == 1
    assert "to have 3 channels, but got 4" in wrong.out
    found = call("doctor", "models.py:Sorted", "--shape", "1x8x8", "--json")
    assert (found.code, found.json["goes"], len(found.json["obstacles"])) == (1, False, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["models.py:small"], "no data to look at the model on"),
        (["models.py:small", "--shape", "3by8"], "--shape '3by8': need sizes"),
        (["models.py:small", "--shape", "3x0"], "need sizes"),
        (["models.py:none", "--shape", "3"], "has no function or class 'none'"),
        (["nothing.toml"], "no such file"),
        (["nothing"], "no such file; a model is"),
        (["nothing.pt2"], "not a program of torch.export that can be read"),
        (["runs/mine", "--shape", "3"], "a trained network has its own"),
        (["models.py:small", "npz=own.npz", "--weights", "weights.safetensors"], "misses"),
        (["models.py:small", "npz=missing.npz"], "missing.npz"),
    ],
)
def test_what_cannot_be(words: list[str], said: str, call: Call) -> None:
    done = call("doctor", *words)
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("dqt: ")
    assert len(done.err.splitlines()) <= 2
    assert said in done.err


def test_weights_of_a_model_that_is_there(call: Call) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    save_file(model.state_dict(), "small.safetensors")
    done = call("doctor", "models.py:small", "--shape", "3x8x8", "--weights", "small.safetensors", "--json")
    assert done.code == 0, done.err
