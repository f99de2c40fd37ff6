"""Two processes that train together give what one gives on the same batches, and one goes on where the other was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
folder, epochs, resume = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "resume"
recipe = Recipe(epochs=4, batch_size=16 // world, lr=0.05, reestimate_batches=2, checkpoint_steps=1, seed=3)
class Stop(Exception): pass
from dqt.train import trainer
if epochs < 4:
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


def train(script: Path, folder: Path, processes: int, epochs: int = 4, resume: bool = False) -> list[Any]:
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(several if processes > 1 else []), str(script), str(folder), str(epochs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "resume" if resume else "new"], capture_output=True, text=True, env=environment, check=False
    )
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
