"""Deltas: what they make of the file of a packed program, and all that they leave as it was."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dqt
from dqt.arith.errors import PlanError
from dqt.program.file import dumps
from dqt.program.layered import Layered
from dqt.program.pack import upgrade
from dqt.program.program import ProgramError
from tests.program.test_file import assemble, header
from tests.program.test_pack import WIDTHS, sample
from tests.program.test_packed_file import big


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A program packed to 3 bits, and the delta to 6."""
    sample().pack(3).save(tmp_path / "net.dqt")
    sample().pack(6).save_delta(tmp_path / "delta", 3)
    return tmp_path / "net.dqt", tmp_path / "delta"


@pytest.mark.parametrize(("low", "high"), [(low, high) for low in WIDTHS for high in WIDTHS if low < high])
def test_an_upgraded_file_is_the_file_of_the_wider_program(low: int, high: int, tmp_path: Path) -> None:
    net, delta = tmp_path / "net.dqt", tmp_path / "delta"
    sample().pack(low).save(net)
    sample().pack(high).save_delta(delta, low)
    assert upgrade(net, delta) == high
    assert net.read_bytes() == dumps(sample().pack(high))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["delta", "net.dqt"]


def test_deltas_go_one_after_the_other(pair: tuple[Path, Path]) -> None:
    net, delta = pair
    assert dqt.upgrade(net, delta) == 6
    sample().save_delta(delta, 6)
    assert dqt.upgrade(net, delta) == 8
    assert net.read_bytes() == dumps(sample())


def test_a_delta_holds_what_was_left_out(tmp_path: Path) -> None:
    big().save_delta(tmp_path / "delta", 4)
    size = (tmp_path / "delta").stat().st_size
    weights = sum(op.weight.size for op in big().ops if isinstance(op, Layered))
    assert size <= weights / 2 + 1500


def test_a_delta_from_where_it_is(tmp_path: Path) -> None:
    for program, since in ((sample(), 8), (sample().pack(4), 4), (sample().pack(4), 6), (sample(), 5)):
        with pytest.raises(PlanError):
            program.save_delta(tmp_path / "delta", since)
    assert not list(tmp_path.iterdir())


def refused(net: Path, delta: Path, message: str) -> None:
    before = net.read_bytes()
    with pytest.raises(ProgramError, match=message) as caught:
        upgrade(net, delta)
    assert "\n" not in str(caught.value)
    assert net.read_bytes() == before


def test_a_delta_of_another_file(pair: tuple[Path, Path]) -> None:
    net, delta = pair
    for other in (sample(4).pack(3), sample().pack(2), sample().pack(4)):
        other.save(net)
        refused(net, delta, r"delta belongs to another file than .*net\.dqt, which is as it was")


def test_files_that_hold_the_bits(pair: tuple[Path, Path]) -> None:
    net, delta = pair
    upgrade(net, delta)
    refused(net, delta, r"net\.dqt holds these 6 bits already")
    sample().save(net)
    refused(net, delta, r"net\.dqt is not packed: it holds all its bits")


def test_no_delta_and_no_program(pair: tuple[Path, Path], tmp_path: Path) -> None:
    net, delta = pair
    refused(net, net, 'net.dqt: no delta: its metadata lack "format": "dqt-delta"')
    (tmp_path / "empty").write_bytes(b"")
    refused(net, tmp_path / "empty", "empty: not a whole safetensors file")
    with pytest.raises(ProgramError, match="no program: its metadata lack"):
        upgrade(delta, delta)
    with pytest.raises(FileNotFoundError):
        upgrade(net, tmp_path / "none")


def test_a_damaged_delta_changes_nothing(pair: tuple[Path, Path]) -> None:
    net, delta = pair
    whole = delta.read_bytes()
    rng = np.random.default_rng(0)
    for end in (0, 8, 100, *rng.integers(0, len(whole), 20), len(whole) - 1):
        delta.write_bytes(whole[:end])
        refused(net, delta, ".")
    for place in (*range(12), *rng.integers(0, len(whole), 200)):
        delta.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.integers(8)]) + whole[place + 1 :])
        refused(net, delta, ".")


def test_a_damaged_base_is_not_upgraded(pair: tuple[Path, Path]) -> None:
    net, delta = pair
    whole = net.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for place in np.random.default_rng(1).integers(start, len(whole), 100):
        net.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refused(net, delta, ".")


def redone(delta: Path, **changes: Any) -> None:
    """The delta with other metadata."""
    head, body = header(delta.read_bytes())
    meta: Mapping[str, Any] = {**head["__metadata__"], **changes}
    delta.write_bytes(assemble({**head, "__metadata__": {k: v for k, v in meta.items() if v is not None}}, body))


METADATA: dict[str, tuple[dict[str, Any], str]] = {
    "a later version": ({"version": "2"}, "delta of version '2'; this release reads version '1'"),
    "no result": ({"result": None}, r"metadata \['result'\] are missing"),
    "a field too many": ({"more": "1"}, r"metadata \['more'\] are missing or unknown"),
    "no width": ({"width": "9"}, "width '9', need"),
    "another width": ({"width": "4"}, "is damaged: together they do not give what the delta promises"),
    "another result": ({"result": "0" * 64}, "is damaged: together they do not give"),
    "another base": ({"base": "0" * 64}, "belongs to another file"),
    "a table of nothing": ({"packed": "[]"}, "is damaged: together they do not give"),
    "a table of what is not there": (
        {"packed": '[{"name":"z","dtype":"uint8","shape":[1],"bits":1,"shift":2,"deflated":false}]'}, "'z' is missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", METADATA)
def test_deltas_that_promise_something_else(name: str, pair: tuple[Path, Path]) -> None:
    changes, message = METADATA[name]
    redone(pair[1], **changes)
    refused(*pair, message)


def test_a_full_disk_leaves_the_packed_file(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    net, delta = pair
    before = net.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        upgrade(net, delta)
    assert net.read_bytes() == before
    assert sorted(each.name for each in net.parent.iterdir()) == ["delta", "net.dqt"]
