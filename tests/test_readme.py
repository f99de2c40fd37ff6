"""The front page: its example runs, and its numbers are the recorded ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dqt
from bench import readme
from bench.common import RESULTS
from bench.markdown import block

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
LINES = 12
PICTURE_BYTES = 100_000


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


@pytest.mark.parametrize(("name", "made"), readme.BLOCKS.items())
def test_the_tables_are_the_recorded_ones(name: str, made: Callable[[], str]) -> None:
    found = block(name).search(TEXT)
    assert found is not None
    assert found[0] == made()


def test_the_picture_is_small() -> None:
    assert readme.PICTURE.is_file()
    assert readme.PICTURE.stat().st_size < PICTURE_BYTES


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_what_a_bench_recorded_says_where_and_whether(path: Path) -> None:
    document = json.loads(path.read_text())
    if document.get("bench") is None:  # a run's results, read by the report
        return
    assert document["bench"] == path.stem
    assert document["machine"]["processor"]
    for target in document["targets"]:
        value, limit = target["value"], target["target"]
        assert target["met"] == (value <= limit if target["relation"] == "<=" else value >= limit), target["what"]
