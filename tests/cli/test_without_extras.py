"""Without the libraries that train: verbs that serve work, on the user's own data; the others name what to install."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dqt

ABSENT = """
import json, sys
verbs, libraries = json.loads(sys.argv[1])
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in libraries:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from dqt.cli import main
for words in verbs:
    print(main(words), flush=True)
"""
TRAIN = ("torch", "torchvision", "sklearn", "lightning_fabric", "tensorboard")


def called(verbs: list[list[str]], folder: Path, libraries: tuple[str, ...] = TRAIN) -> tuple[str, str]:
    """What several commands said, in one process where the libraries are absent; after each, its exit code."""
    words = [sys.executable, "-c", ABSENT, json.dumps([verbs, libraries])]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=True)
    return done.stdout, done.stderr


def test_verbs_that_serve_need_no_torch(tmp_path: Path) -> None:
    net, rng = str(dqt.example()), np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x=images, y=np.arange(20) % 10)
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.fromarray(images[label].transpose(1, 2, 0)).save(tmp_path / "images" / name / "0.png")
    verbs = [
        ["eval", net, "npz=own.npz", "--bits", "8,2", "--out", "run"],
        ["eval", net, "folder=images", "--bits", "4", "--engine", "interpret"],
        ["run", net, "images/cat", "--bits", "4"],
        ["inspect", net],
        ["bench", net, "--bits", "8", "--seconds", "0"],
        ["report", "run"],
    ]
    out, err = called(verbs, tmp_path)
    assert [line for line in out.splitlines() if line in {"0", "1", "2", "3"}] == ["0"] * len(verbs), err
    assert (tmp_path / "run" / "report.html").exists()
    out, err = called([["report", "run"]], tmp_path, ("matplotlib",))
    assert (out.splitlines()[-1], err) == ("0", "")
    out, err = called([["report", "run", "--png", "pictures"]], tmp_path, ("matplotlib",))
    assert out.splitlines()[-1] == "1"
    assert err == 'dqt: pictures need matplotlib, which is not installed: pip install "dqt[report]"\n'


@pytest.mark.parametrize(
    ("words", "library"),
    [
        (["eval", "{net}", "digits"], "scikit-learn"),
        (["train", "digits"], "torch"),
        (["lower", "x"], "torch"),
        (["search", "x"], "torch"),
        (["demo"], "torch"),
    ],
)
def test_verbs_that_train_name_the_extra(tmp_path: Path, words: list[str], library: str) -> None:
    out, err = called([[word.format(net=dqt.example()) for word in words]], tmp_path)
    assert out == "1\n"
    assert len(err.splitlines()) == 1
    assert err.startswith("dqt: ")
    assert f'needs {library}, which is not installed: pip install "dqt[train]"' in err
