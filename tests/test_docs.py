"""Every Python block of the guide runs, page by page; every TOML block is a run; links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dqt.nn.aten import ATEN
from dqt.train.recipe import Run, load_run

ROOT = Path(__file__).parent.parent
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
PAGES = [*GUIDE, *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md")), ROOT / "bench" / "README.md"]


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """First line number and text of each fenced block."""
    text = page.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in found]


def run_page(page: Path) -> dict[str, Any]:
    """Execute a page's Python blocks in one namespace; line numbers in a traceback are the page's."""
    names: dict[str, Any] = {"__name__": page.stem}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * line + code, str(page), "exec"), names)
    return names


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_the_python_of_the_guide_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    assert run_page(page)


def test_the_run_file_of_the_guide_is_one(tmp_path: Path) -> None:
    ((_, text),) = blocks(ROOT / "docs" / "guide" / "fit.md", "toml")
    path = tmp_path / "run.toml"
    path.write_text(text)
    assert isinstance(load_run(path), Run)


def test_the_guide_lists_the_operators_that_are_supported() -> None:
    page = (ROOT / "docs" / "guide" / "your-model.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == {name.split(".")[1].removesuffix("_") for name in ATEN}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target
