"""Two processes that train together give what one gives on the same batches, and one goes on where the other was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from dqt.train.checkpoint import Checkpoint
from dqt.train.fit import fit
from dqt.train.recipe import Recipe
from dqt.train.trainer import Trainer
from tests.together import together

from .conftest import tiny_data, tiny_net

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
RUN = """
import sys
from pathlib import Path
from tests.train.test_processes import TOTAL, train
train(Path(sys.argv[1]), TOTAL, TOTAL, lr=float(sys.argv[2]))
"""
TOTAL = 2000


class _CutError(Exception):
    pass


def train(folder: Path, epochs: int = 4, total: int = 4, resume: bool = False, lr: float = 0.05) -> None:
    """Train in ``folder`` until ``epochs`` of ``total``: in this process, or as one of the processes of its world."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    recipe = Recipe(epochs=total, batch_size=16 // world, lr=lr, reestimate_batches=2, seed=3)
    after = Trainer._after_epoch

    def cut(self: Trainer) -> None:
        after(self)
        if self.state.epoch == epochs < total:
            raise _CutError

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, suppress(_CutError):
        patch.setattr(Trainer, "_after_epoch", cut)
        fit(tiny_net(), tiny_data(), tiny_data(31, 2), recipe, run_dir=folder, resume=resume, progress=False)
    torch.set_num_threads(threads)
    if world > 1:
        torch.distributed.destroy_process_group()


def train_there(folder: str, epochs: int, resume: bool) -> None:
    """:func:`train` with arguments of plain JSON."""
    train(Path(folder), epochs, resume=resume)


def rows(folder: Path) -> list[Any]:
    return list(Checkpoint.load(folder / "last.ckpt").history)


def assert_alike(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other) == 4
    for row, its in zip(one, other, strict=True):
        assert row["losses"] == pytest.approx(its["losses"], rel=1e-5)  # sums of floats in another order
        assert row["accuracy"] == its["accuracy"]


def test_two_processes_train_as_one_and_resume_each_other(tmp_path: Path) -> None:
    alone, both, first, second = (tmp_path / name for name in ("one", "two", "one then two", "two then one"))
    train(alone)
    train(first, epochs=2)
    assert len(rows(first)) == 2
    together(train_there, [str(both), 4, False], [str(first), 4, True], [str(second), 2, False])
    assert len(rows(second)) == 2
    train(second, resume=True)
    for folder in (both, first, second):
        assert_alike(rows(alone), rows(folder))
    one, two = (Checkpoint.load(folder / "last.ckpt").net for folder in (alone, both))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)


def test_ctrl_c_with_two_processes_leaves_a_checkpoint_that_resumes(tmp_path: Path) -> None:
    """One process goes on from it, and its rows are those of a run that nobody stopped."""
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    lr = 1e-4  # so small that sums of floats in another order do not end at other integers
    script = tmp_path / "run.py"
    script.write_text(RUN)
    running = subprocess.Popen(
        [*TORCHRUN, str(script), str(cut), str(lr)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        while running.poll() is None and not (cut / "history.jsonl").exists():
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to torchrun, and to whatever it did not set apart
        said, _ = running.communicate(timeout=120)
    finally:
        running.terminate()  # torchrun ends its processes; killed, it would leave them behind
        running.wait(60)
    assert running.returncode != 0
    found = Checkpoint.load(cut / "last.ckpt")
    assert f"stopped after step {found.step} of {3 * TOTAL}; saved in {cut / 'last.ckpt'}" in said
    until = found.epoch + 2
    for folder, resume in ((cut, True), (whole, False)):
        train(folder, until, TOTAL, resume, lr)
    found_rows, expected = rows(cut), rows(whole)
    assert len(found_rows) == len(expected) == until
    for row, other in zip(found_rows, expected, strict=True):
        assert row["losses"] == pytest.approx(other["losses"], rel=1e-5)
