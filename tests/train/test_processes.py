"""Two processes that train together give what one gives on the same batches, and one goes on where the other was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dqt.train.checkpoint import Checkpoint

ROOT = Path(__file__).parents[2]
RUN = """
import json, os, sys
import torch
from dqt.train.fit import fit
from dqt.train.recipe import Recipe
from tests.train.conftest import tiny_data, tiny_net
torch.set_num_threads(1)
world = int(os.environ.get("WORLD_SIZE", 1))
folder, epochs, total, resume = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "resume"
recipe = Recipe(epochs=total, batch_size=16 // world, lr=float(os.environ["LR"]), reestimate_batches=2, seed=3)
class Stop(Exception): pass
from dqt.train import trainer
if epochs < total:
    after = trainer.Trainer._after_epoch
    def stopped(self):
        after(self)
        if self.state.epoch == epochs:
            raise Stop
    trainer.Trainer._after_epoch = stopped
try:
    history = fit(tiny_net(), tiny_data(), tiny_data(31, 2), recipe, run_dir=folder, resume=resume, progress=False)
    if int(os.environ.get("RANK", 0)) == 0:
        print(json.dumps([[row["losses"], row["accuracy"]] for row in history.rows]))
except Stop:
    pass
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


def command(script: Path, folder: Path, processes: int, epochs: int, total: int, resume: bool = False) -> list[str]:
    """Python running ``script`` until ``epochs`` of ``total``, by way of torchrun where there are several processes."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    begin = [sys.executable, *(several if processes > 1 else [])]
    return [*begin, str(script), str(folder), str(epochs), str(total), "resume" if resume else "new"]


def environment(lr: float = 0.05) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LR": str(lr)}


def train(
    script: Path, folder: Path, processes: int, epochs: int = 4, total: int = 4, resume: bool = False, lr: float = 0.05
) -> list[Any]:
    asked = command(script, folder, processes, epochs, total, resume)
    done = subprocess.run(asked, capture_output=True, text=True, env=environment(lr), check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1])) if done.stdout.strip() else []


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "run.py"
    path.write_text(RUN)
    return path


def assert_alike(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other) == 4
    for (losses, scores), (others, other_scores) in zip(one, other, strict=True):
        assert losses == pytest.approx(others, rel=1e-5)  # sums of floats in another order
        assert scores == other_scores


def test_two_processes_train_as_one_and_resume_each_other(script: Path, tmp_path: Path) -> None:
    alone = train(script, tmp_path / "one", 1)
    assert_alike(alone, train(script, tmp_path / "two", 2))
    one, two = (Checkpoint.load(tmp_path / name / "last.ckpt").net for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)
    for first, then in ((1, 2), (2, 1)):
        folder = tmp_path / f"{first} then {then}"
        train(script, folder, first, epochs=2)
        assert_alike(alone, train(script, folder, then, resume=True))


def test_ctrl_c_with_two_processes_leaves_a_checkpoint_that_resumes(script: Path, tmp_path: Path) -> None:
    """One process goes on from it, and its rows are those of a run that nobody stopped."""
    cut, whole, total = tmp_path / "cut", tmp_path / "whole", 2000
    lr = 1e-4  # so small that sums of floats in another order do not end at other integers
    running = subprocess.Popen(
        command(script, cut, 2, total, total),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(lr), start_new_session=True,
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
    assert f"stopped after step {found.step} of {3 * total}; saved in {cut / 'last.ckpt'}" in said
    until = found.epoch + 2
    for folder, resume in ((cut, True), (whole, False)):
        train(script, folder, 1, until, total, resume, lr)
    rows, expected = (Checkpoint.load(folder / "last.ckpt").history for folder in (cut, whole))
    assert len(rows) == len(expected) == until
    for row, other in zip(rows, expected, strict=True):
        assert row["losses"] == pytest.approx(other["losses"], rel=1e-5)
