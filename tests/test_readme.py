"""The front page: its example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import dqt

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
LINES = 12


def example() -> str:
    """The one Python block."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return str(code)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(compile(example(), "README.md", "exec"), names)
    accuracies = [float(line) for line in capsys.readouterr().out.split()[-5:]]
    assert len(accuracies) == 5
    assert accuracies[0] > 0.9  # five epochs, at 8 bits
    assert dqt.Program.load(tmp_path / "digits.dqt").space == names["program"].space


def test_the_example_has_twelve_lines() -> None:
    assert len([line for line in example().splitlines() if line]) == LINES


def test_the_first_picture_shows_what_training_gives() -> None:
    """Trained widths and cascades, and it lies where the page says."""
    pictures = re.findall(r"^!\[[^]]+\]\(([^)]+)\)$", TEXT, re.MULTILINE)
    assert pictures[0] == "docs/images/cifar10-trained.svg"
    assert TEXT.index("## Trained") < TEXT.index(pictures[0]) < TEXT.index("## Without training")
    drawn = (ROOT / pictures[0]).read_text()
    for words in ("cascades: unsure images again at more bits", "2 to 8 bits, trained", "without training", "float"):
        assert words in drawn
    assert all((ROOT / path).is_file() for path in pictures)
