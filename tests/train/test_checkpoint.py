"""Checkpoints are whole or one clear error; writing one never harms the one before."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dqt.nn.net import Net
from dqt.train.build import rebuild
from dqt.train.checkpoint import HEADER, MAGIC, Checkpoint, CheckpointError, read, restore, write
from dqt.train.recipe import Recipe

from .conftest import tiny_net

PAYLOAD: dict[str, Any] = {"a": torch.arange(5), "b": {"text": "x", "number": 1.5, "list": [1, (2, None)]}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(PAYLOAD, tmp_path / "c.ckpt")
    return tmp_path / "c.ckpt"


def checkpoint_of(net: Net, run: dict[str, Any] | None = None) -> Checkpoint:
    return Checkpoint(
        run=run, recipe=Recipe().model_dump(mode="json"), net=net.state_dict(), average=None, optimizer={},
        precision={}, epoch=1, step=2, steps_per_epoch=2, totals={}, history=[], watch={},
        shape=list(net.input_shape), info={},
    )  # fmt: skip


def test_what_is_written_is_read(path: Path) -> None:
    found = read(path)
    assert torch.equal(found["a"], PAYLOAD["a"])
    assert found["b"] == PAYLOAD["b"]
    assert path.read_bytes()[:8] == MAGIC
    assert [p.name for p in path.parent.iterdir()] == ["c.ckpt"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_every_truncation_is_one_error(path: Path) -> None:
    raw = path.read_bytes()
    for length in [*range(HEADER.size + 2), len(raw) // 2, len(raw) - 1]:
        path.write_bytes(raw[:length])
        with pytest.raises(CheckpointError, match=r"c\.ckpt: (not a dqt checkpoint|truncated)"):
            read(path)
    path.write_bytes(raw + b"\0")
    with pytest.raises(CheckpointError, match="truncated or extended"):
        read(path)


def test_every_flipped_byte_is_one_error(path: Path) -> None:
    raw = path.read_bytes()
    for place in [*range(HEADER.size), *range(HEADER.size, len(raw), 37)]:
        changed = bytearray(raw)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(CheckpointError):
            read(path)


def test_another_version_and_other_content_are_told_apart(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[8] = 7
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="checkpoint version 7; this release reads version 1"):
        read(path)
    write(PAYLOAD, path)
    with pytest.raises(CheckpointError, match=r"holds another set of entries \(differs in a, average"):
        Checkpoint.load(path)
    with pytest.raises(CheckpointError, match="no such file"):
        read(path.with_name("none.ckpt"))
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(path.parent)


class Evil:
    """Pickles to a call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/never",)


def test_loading_runs_no_code(path: Path) -> None:
    write({"a": Evil()}, path)
    with pytest.raises(CheckpointError, match="not plain tensors and values"):
        read(path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_keeps_the_previous_file(path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if call == "fsync" else Path, call, full)
    with pytest.raises(CheckpointError, match=r"No space left on device\); the previous file is kept: free some space"):
        write({"a": torch.zeros(1000)}, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["c.ckpt"]


def test_a_write_that_the_system_cuts_off_keeps_the_previous_file(path: Path) -> None:
    before = path.read_bytes()
    code = f"""
import resource, signal, torch
from pathlib import Path
from dqt.train.checkpoint import CheckpointError, write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    write({{"a": torch.zeros(100_000)}}, Path({str(path)!r}))
except CheckpointError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "File too large); the previous file is kept" in done.stdout
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["c.ckpt"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 65536


def test_the_next_write_removes_what_a_killed_one_left(path: Path) -> None:
    abandoned = path.with_name(f".{path.name}.{'0a' * 8}.tmp")
    abandoned.write_bytes(b"half")
    write(PAYLOAD, path)
    assert [p.name for p in path.parent.iterdir()] == ["c.ckpt"]


def test_state_goes_back_into_a_network_prepared_the_same_way(tmp_path: Path, net: Net) -> None:
    saved = checkpoint_of(net)
    saved.save(tmp_path / "n.ckpt")
    other = restore(tiny_net(seed=9), Checkpoint.load(tmp_path / "n.ckpt"))
    for name, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    with pytest.raises(CheckpointError, match="belongs to another network: Missing key"):
        restore(tiny_net(controller=True), saved)


def test_a_network_is_rebuilt_from_its_checkpoint_alone(tmp_path: Path) -> None:
    factory = f"{Path(__file__).with_name('conftest.py')}:Tiny"
    run: dict[str, Any] = {"model": {"factory": factory}, "data": {"spec": "digits"}, "network": {"widths": [2, 4, 8]}}
    net = tiny_net(seed=5)
    checkpoint_of(net, run).save(tmp_path / "r.ckpt")
    again, checkpoint = rebuild(tmp_path / "r.ckpt")
    x = torch.randn(3, 1, 6, 6)
    assert torch.equal(again(x, 4), net.eval()(x, 4))
    assert checkpoint.step == 2
    checkpoint_of(net).save(tmp_path / "r.ckpt")
    with pytest.raises(CheckpointError, match="names no model"):
        rebuild(tmp_path / "r.ckpt")
    run["model"]["factory"] = "gone.module:Tiny"
    checkpoint_of(net, run).save(tmp_path / "r.ckpt")
    with pytest.raises(CheckpointError, match=r"cannot be built again: model\.factory"):
        rebuild(tmp_path / "r.ckpt")
