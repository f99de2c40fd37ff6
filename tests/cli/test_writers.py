"""Verbs that write a program in another form: a place that takes nothing is one clear error and leaves no half file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.test_errors import full, refused

WRITERS: dict[str, tuple[tuple[str, ...], str]] = {
    "onnx": (("export", "onnx", "net.dqt", "-o"), "net.onnx"),
    "onnx of 4 bits": (("export", "onnx", "net.dqt", "--bits", "4", "-o"), "net.onnx"),
    "qdq": (("export", "onnx", "net.dqt", "--form", "qdq", "-o"), "net.onnx"),
    "controller": (("export", "onnx", "net.dqt", "--controller", "-o"), "net.onnx"),
    "c": (("export", "c", "net.dqt", "-o"), "net-c"),
    "pack": (("pack", "net.dqt", "--width", "4", "-o"), "small.dqt"),
    "delta": (("pack", "net.dqt", "--width", "4", "-o", "small.dqt", "--delta"), "delta"),
    "report": (("report", "results.json", "-o"), "page.html"),
}


@pytest.fixture(autouse=True)
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("net.dqt", "net4.dqt", "delta-4-8.dqt"):
        shutil.copy(made / name, tmp_path / name)
    shutil.copy(made / "runs" / "mine" / "results.json", tmp_path / "results.json")
    monkeypatch.chdir(tmp_path)


def held() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing(name: str, call: Call) -> None:
    words, out = WRITERS[name]
    before = held()
    refused(full(call, *words, out), "File too large", "cannot be written")
    assert held() == before
    assert not Path(out).exists()


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_what_was_there(name: str, call: Call) -> None:
    words, out = WRITERS[name]
    assert call(*words, out).code == 0
    before = held()
    refused(full(call, *words, out), "File too large", "cannot be written")
    assert held() == before


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("folder", ["none", "net.dqt"])
def test_a_folder_that_takes_nothing_is_named(name: str, folder: str, call: Call) -> None:
    """One that is missing, and one that is a file."""
    words, out = WRITERS[name]
    before = held()
    refused(call(*words, f"{folder}/{out}"), f"{folder}/{out}", "cannot be written")
    assert held().items() >= before.items()
    assert not [path for path in held() if path not in before and path != "small.dqt"]


def test_a_full_disk_leaves_the_file_that_is_upgraded(call: Call) -> None:
    before = held()
    refused(full(call, "upgrade", "net4.dqt", "delta-4-8.dqt"), "net4.dqt: cannot be written (File too large)", "kept")
    assert held() == before
