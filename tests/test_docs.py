"""Every Python block of the guide runs, page by page; every TOML block is a run; links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.core import TyperGroup as Group

from dqt.cli.app import app
from dqt.nn.operator import handlers
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


def test_the_run_files_of_the_guide_are_such(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    texts = [text for _, text in blocks(ROOT / "docs" / "guide" / "fit.md", "toml")]
    assert len(texts) == 3
    for text in texts:
        path.write_text(text)
        assert isinstance(load_run(path), Run)


def test_the_guide_lists_the_operators_that_are_supported() -> None:
    page = (ROOT / "docs" / "guide" / "your-model.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == {name.split(".")[1].removesuffix("_") for name in handlers() if name.startswith("aten.")}


def commands() -> list[str]:
    """Every command line of the guide; two spaces or more end it."""
    lines = [line for page in GUIDE for line in re.findall(r"^ {4}.*?\b(dqt \w+.*)$", page.read_text(), re.MULTILINE)]
    return sorted({re.split(r"\s{2,}", line)[0] for line in lines})


@pytest.mark.parametrize("line", commands())
def test_command_lines_of_the_guide_parse(line: str) -> None:
    verb, *words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    assert isinstance(command, Group)
    context = command.make_context("dqt", [verb, *words])
    found = command.get_command(context, verb)
    assert found is not None, verb
    found.make_context(verb, words)  # raises for an unknown option


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target
