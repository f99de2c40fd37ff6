"""Help: quick, with examples that are real commands; and the shape of the command line itself."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dqt._version import __version__
from dqt.cli.app import VERBS

from .conftest import Call

EXAMPLES = [(verb, line) for verb, (_, examples) in VERBS.items() for line in examples]


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_shows_its_examples(verb: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = call(*verb.split(), "--help")
    assert shown.code == 0
    for line in VERBS[verb][1]:
        assert f"Example: {line}" in shown.out


@pytest.mark.parametrize(("verb", "line"), EXAMPLES)
def test_the_examples_are_real_commands(
    verb: str, line: str, call: Call, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    if verb == "demo":
        monkeypatch.setattr("dqt.cli.train.shipped", lambda: {"digits": Path("recipe.toml")})
    elif verb == "train" and "--resume" not in line:
        shutil.rmtree("runs/mine")
    done = call(*shlex.split(line)[1:])
    assert done.code == 0, done.err


def test_help_and_version(call: Call) -> None:
    assert call("--version").out == f"dqt {__version__}\n"
    shown = call()
    assert shown.code == 0
    assert all(verb.split()[0] in shown.out for verb in VERBS)


def test_help_is_quick_and_brings_no_torch() -> None:
    code = (
        "import sys; from dqt.cli import main; code = main(['--help']); "
        "assert not {'torch', 'scipy', 'matplotlib', 'numpy'} & set(sys.modules); sys.exit(code)"
    )
    best = 10.0
    for _ in range(3):
        start = time_of_children()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ)
        best = min(best, time_of_children() - start)
    assert best < 1.0  # the aim is 0.5 s; a busy core takes longer


def time_of_children() -> float:
    """Seconds of processor time: other work on the machine hardly counts."""
    spent = os.times()
    return spent.children_user + spent.children_system


def test_inspect_and_run_need_no_torch(made: Path) -> None:
    for words in (["inspect", "net.dqt"], ["run", "net.dqt", "images", "--bits", "auto"], ["report", "runs/mine"]):
        code = f"import sys; sys.modules['torch'] = None; from dqt.cli import main; sys.exit(main({words!r}))"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=made)


def test_a_reader_that_goes_away_is_no_defect(made: Path) -> None:
    code = "import sys; from dqt.cli import main; sys.exit(main(['inspect', 'net.dqt', '--json']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=made
    ) as one:
        assert one.stdout is not None
        assert one.stderr is not None
        one.stdout.close()
        assert one.stderr.read() == b""
