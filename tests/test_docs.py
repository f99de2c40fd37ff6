"""Every Python block runs, page by page; every TOML block is a run; C programs compile; links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.core import TyperGroup as Group

import dqt
import dqt.export
from dqt.cli.app import app
from dqt.nn.operator import handlers, whole_handlers
from dqt.testing.zoo import torchvision
from dqt.train.recipe import Run, load_run

from .train.trainers import needs

ROOT = Path(__file__).parent.parent
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
PAGES = [*GUIDE, *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md")), ROOT / "bench" / "README.md"]


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """First line number and text of each fenced block."""
    text = page.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in found]


def having(language: str) -> list[Path]:
    """The pages with fenced blocks of a language; the front page has a test of its own."""
    return [page for page in PAGES if page.name != "README.md" and blocks(page, language)]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run_page(page: Path) -> dict[str, Any]:
    """Execute a page's Python blocks in one namespace; line numbers in a traceback are the page's."""
    names: dict[str, Any] = {"__name__": page.stem}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * line + code, str(page), "exec"), names)
    return names


NEEDS = {"trainers": ("lightning", "transformers", "accelerate", "datasets")}
"""Page -> libraries that its code imports; CI has them."""


@pytest.mark.parametrize("page", having("python"), ids=named)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    torchvision()  # so that a page can import it beside a CPU build of torch
    needs(*NEEDS.get(page.stem, ()))
    torch.manual_seed(0)
    with warnings.catch_warnings():
        if page.stem in NEEDS:  # what these libraries warn of themselves is theirs
            warnings.simplefilter("ignore")
        assert run_page(page)


@pytest.mark.parametrize("page", having("toml"), ids=named)
def test_the_run_files_of_a_page_are_such(page: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    for _, text in blocks(page, "toml"):
        path.write_text(text)
        assert isinstance(load_run(path), Run)


@pytest.mark.parametrize("page", having("c"), ids=named)
def test_every_block_of_c_compiles(page: Path, tmp_path: Path) -> None:
    """With the header of the C library, or with an export of the shipped network."""
    dqt.export.c(dqt.example(), tmp_path / "net-c")
    for line, code in blocks(page, "c"):
        (tmp_path / "page.c").write_text(f'#line {line + 1} "{page}"\n{code}')
        places = (f"-I{ROOT / 'csrc'}", "-Inet-c")
        words = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *places, "page.c"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_same_bits_names_every_kernel_set_and_tests_that_exist() -> None:
    page = (ROOT / "docs" / "same-bits.md").read_text()
    sets = re.findall(r"^DQT_KERNELS\((\w+)\)", (ROOT / "csrc" / "cpu" / "kernels.inc").read_text(), re.MULTILINE)
    assert sets
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(sets)
    for path in re.findall(r"`(tests/[\w./]+)`", page):
        assert (ROOT / path).exists(), path


def test_every_fenced_block_is_of_a_language_that_tests_run() -> None:
    for page in PAGES:
        opened = re.findall(r"^ *```(.*)$", page.read_text(), re.MULTILINE)[::2]
        assert set(opened) <= {"python", "toml", "c"}, page


def test_the_guide_lists_the_operators_that_are_supported() -> None:
    page = (ROOT / "docs" / "guide" / "your-model.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    known = {*handlers(), *whole_handlers()}
    assert listed == {name.split(".")[1].removesuffix("_") for name in known if name.startswith("aten.")}


def commands() -> list[str]:
    """Every command line of the pages; two spaces or more end it."""
    lines = [line for page in GUIDE for line in re.findall(r"^ {4}.*?\b(dqt \w+.*)$", page.read_text(), re.MULTILINE)]
    rest = [page for page in PAGES if page not in GUIDE]
    lines += [line for page in rest for line in re.findall(r"^ {4}(dqt [a-z]+ [^$]*)$", page.read_text(), re.MULTILINE)]
    return sorted({re.split(r"\s{2,}", line)[0] for line in lines})


@pytest.mark.parametrize("line", commands())
def test_command_lines_parse(line: str) -> None:
    verb, *words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    assert isinstance(command, Group)
    context = command.make_context("dqt", [verb, *words])
    found = command.get_command(context, verb)
    assert found is not None, verb
    found.make_context(verb, words)  # raises for an unknown option


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target
