"""``dqt pack`` and ``dqt upgrade``: what they write and say, and what they leave as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dqt.program.program import Program
from tests.cli.conftest import Call


@pytest.fixture(autouse=True)
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("net.dqt", "net4.dqt", "delta-4-8.dqt"):
        shutil.copy(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)


def test_a_packed_file_runs_up_to_its_width(call: Call) -> None:
    done = call("pack", "net.dqt", "--width", "2", "--json")
    assert done.code == 0, done.err
    assert done.json["file"] == "net2.dqt"
    assert done.json["widths"] == [2]
    assert done.json["bytes"] == Path("net2.dqt").stat().st_size < Path("net4.dqt").stat().st_size
    assert done.json["delta"] is None
    assert Program.load("net2.dqt").space.packed == 2
    shown = call("inspect", "net2.dqt")
    assert "packed to 2 bits" in shown.out
    assert call("inspect", "net2.dqt", "--json").json["packed"] == 2
    assert list(call("inspect", "net2.dqt", "--json").json["cost"]) == ["2"]


def test_evaluation_and_speed_leave_out_what_is_not_there(call: Call) -> None:
    found = call("eval", "net4.dqt", "digits", "--limit", "20", "--check", "5", "--json")
    assert found.code == 0, found.err
    assert [row["bits"] for row in found.json["rows"]] == [4, 2]
    assert call("bench", "net4.dqt", "--seconds", "0.01", "--json").code == 0
    refused = call("eval", "net4.dqt", "digits", "--bits", "8", "--limit", "4")
    assert refused.code == 1
    assert "packed to 4 bits" in refused.err
    assert "upgrade" in refused.err


def test_a_delta_makes_the_whole_program(call: Call) -> None:
    done = call("pack", "net.dqt", "--width", "4", "-o", "small.dqt", "--delta", "delta.dqt")
    assert done.code == 0, done.err
    assert "next: dqt upgrade small.dqt delta.dqt" in done.out
    done = call("upgrade", "small.dqt", "delta.dqt")
    assert done.code == 0, done.err
    assert "holds widths up to 8 bits" in done.out
    assert Path("small.dqt").read_bytes() == Path("net.dqt").read_bytes()
    assert Path("delta.dqt").read_bytes() == Path("delta-4-8.dqt").read_bytes()


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (("pack", "net.dqt", "--width", "3"), "width 3 of the plan is not one of the network's widths", 1),
        (("pack", "net.dqt", "--width", "9"), "--width", 2),
        (("pack", "net.dqt"), "--width", 2),
        (("pack", "net.dqt", "--width", "4", "-o", "net.dqt"), "is the program itself, which would lose bits", 2),
        (("pack", "net4.dqt", "--width", "8"), "packed to 4 bits", 1),
        (("pack", "net4.dqt", "--width", "4", "-o", "x.dqt", "--delta", "d.dqt"), "this program holds no more", 1),
        (("pack", "net.dqt", "--width", "4", "-o", "none/x.dqt"), "none/x.dqt: cannot be written", 1),
        (("pack", "none.dqt", "--width", "4"), "none.dqt", 1),
        (("upgrade", "net.dqt", "delta-4-8.dqt"), "holds these 8 bits already", 1),
        (("upgrade", "net4.dqt", "net.dqt"), "net.dqt: no delta", 1),
        (("upgrade", "net4.dqt", "none.dqt"), "none.dqt", 1),
        (("upgrade", "net4.dqt"), "Missing argument", 2),
    ],
)
def test_one_line_says_what_is_wrong(words: tuple[str, ...], message: str, code: int, call: Call) -> None:
    before = {each.name: each.read_bytes() for each in Path().iterdir()}
    done = call(*words)
    assert done.code == code
    assert message in done.err
    assert done.err.count("\n") <= 2
    assert {each.name: each.read_bytes() for each in Path().iterdir()} == before


def test_a_delta_of_another_width_is_refused(call: Call) -> None:
    assert call("pack", "net.dqt", "--width", "2").code == 0
    before = Path("net2.dqt").read_bytes()
    done = call("upgrade", "net2.dqt", "delta-4-8.dqt")
    assert done.code == 1
    assert "belongs to another file than net2.dqt" in done.err
    assert Path("net2.dqt").read_bytes() == before
