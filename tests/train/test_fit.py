"""The loop: it learns, what it validates is what is served, and a run that was cut off ends as one that was not."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from dqt.arith.errors import InputError
from dqt.nn.calibrate import calibrate
from dqt.nn.config import Config
from dqt.nn.net import Net
from dqt.nn.norms import Norm
from dqt.nn.prepare import prepare
from dqt.train import processes
from dqt.train.checkpoint import LAST, Checkpoint, CheckpointError
from dqt.train.data import DataError, DataSet, load
from dqt.train.fit import History, fit
from dqt.train.processes import Stopped
from dqt.train.recipe import Recipe, RecipeError
from dqt.train.sources import source_of
from dqt.train.validate import AUTO_SHARE, accuracies, evaluate, reestimate
from dqt.train.watch import TrainingError
from tests.together import together

from .conftest import Tiny, tiny_data, tiny_net

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(epochs=3, batch_size=8, lr=0.05, bitops=0.6, reestimate_batches=2, checkpoint_minutes=0, devices=1)
FIRST_EPOCH = 32 + 48 + 16  # samples read: calibration, one epoch, norm statistics


class Cut(Dataset[tuple[Tensor, Tensor]]):
    """Data that sends this process signal ``number`` when the ``after``-th sample is read."""

    def __init__(self, x: Tensor, y: Tensor, after: int, number: int) -> None:
        self.x, self.y, self.left, self.number = x, y, after, number

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return self.x[index], self.y[index]


def train(net: Net, recipe: Recipe = RECIPE, data: Any = None, **options: Any) -> History:
    return fit(
        net, TensorDataset(*tiny_data()) if data is None else data, tiny_data(30, 2), recipe, progress=False, **options
    )


def plain(rows: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same(one: Net, other: Net) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_it_learns_and_validates_what_is_served(tmp_path: Path) -> None:
    net = tiny_net(controller=True)
    assert not bool(net.ready)
    history = train(net, RECIPE.model_copy(update={"epochs": 6}), run_dir=tmp_path / "run")
    assert net.calibrated
    assert history.accuracy.keys() == {"8", "4", "2", "auto", "auto_share"}
    assert history.accuracy["8"] > 0.8
    assert history.rows[-1]["losses"]["8"] < 0.7 * history.rows[0]["losses"]["8"]
    source = source_of(tiny_data(30, 2), RECIPE)
    plans = (8, 4, 2, "auto")
    assert accuracies(evaluate(net, source, plans, torch.device("cpu")), plans) == history.accuracy
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(history.rows)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {".lock", "last.ckpt", "best.ckpt", "history.jsonl", "tensorboard"}
    best = Checkpoint.load(tmp_path / "run" / "best.ckpt")
    means = [sum(row["accuracy"][str(p)] for p in plans) for row in history.rows]
    assert best.epoch == 1 + means.index(max(means))


def test_the_network_goes_back_to_its_mode_and_the_global_generator_is_left_alone() -> None:
    net, state = tiny_net().eval(), torch.get_rng_state()
    train(net, RECIPE.model_copy(update={"epochs": 1}))
    assert not net.training
    assert torch.equal(torch.get_rng_state(), state)


def test_kinds_of_data_train_alike() -> None:
    x, y = tiny_data()
    nets = []
    for data in (TensorDataset(x, y), (x, y)):
        nets.append(tiny_net())
        train(nets[-1], RECIPE.model_copy(update={"epochs": 1}), data)
    assert_same(*nets)


class Dropping(nn.Module):
    """Has dropout, which draws from the global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop, self.linear = nn.Conv2d(1, 4, 3), nn.Dropout(0.3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.drop(torch.relu(self.conv(x)).mean((2, 3))))
        return logits


def dropping() -> Net:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        return prepare(Dropping().train(), torch.randn(2, 1, 6, 6), Config(widths=(2, 4, 8))).train()


@pytest.mark.parametrize("kind", ["plain", "controller", "average", "dropout", "adamw"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path, kind: str) -> None:
    changes: dict[str, dict[str, Any]] = {"average": {"ema": 0.9}, "adamw": {"optimizer": "adamw", "lr": 0.01}}
    recipe = RECIPE.model_copy(update=changes.get(kind, {}))

    def make() -> Net:
        return dropping() if kind == "dropout" else tiny_net(controller=kind == "controller")

    whole = make()
    history = train(whole, recipe, run_dir=tmp_path / "whole")
    x, y = tiny_data()
    with pytest.raises(Stopped, match=r"stopped after step 9 of 18; saved in .*last\.ckpt: resume with"):
        train(make(), recipe, Cut(x, y, FIRST_EPOCH + 20, signal.SIGINT), run_dir=tmp_path / "cut")
    resumed = make()
    again = train(resumed, recipe, run_dir=tmp_path / "cut", resume=True)
    assert plain(again.rows) == plain(history.rows)
    assert_same(whole, resumed)
    one, other = (Checkpoint.load(tmp_path / name / "last.ckpt") for name in ("whole", "cut"))
    for key, state in one.optimizer["state"].items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(other.optimizer["state"][key][name]), torch.as_tensor(value))
    assert train(make(), recipe, run_dir=tmp_path / "cut", resume=True).rows == again.rows  # already complete


KILLED = """
import signal, sys
import torch
torch.set_num_threads(1)
from tests.train.conftest import tiny_data, tiny_net
from tests.train.test_fit import FIRST_EPOCH, RECIPE, Cut, train
recipe = RECIPE.model_copy(update={"checkpoint_steps": 4})
train(tiny_net(controller=True), recipe, Cut(*tiny_data(), FIRST_EPOCH + 34, signal.SIGKILL), run_dir=sys.argv[1])
"""


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, cwd=ROOT, check=False)


def test_a_run_that_was_killed_in_mid_epoch_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    done = python("-c", KILLED, str(tmp_path / "cut"))
    assert done.returncode == -signal.SIGKILL, done.stderr
    checkpoint = Checkpoint.load(tmp_path / "cut" / "last.ckpt")
    assert (checkpoint.epoch, checkpoint.step) == (1, 8)  # cut at step 11 of 18: in mid-epoch, past its checkpoint
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole, resumed = tiny_net(controller=True), tiny_net(controller=True)
        recipe = RECIPE.model_copy(update={"checkpoint_steps": 4})
        history = train(whole, recipe, run_dir=tmp_path / "whole")
        again = train(resumed, recipe, run_dir=tmp_path / "cut", resume=True)
    finally:
        torch.set_num_threads(threads)
    assert plain(again.rows) == plain(history.rows)
    assert_same(whole, resumed)


@pytest.mark.parametrize("before", [0, 1, 2, 3, 7, 13, 21])  # up to 8 an epoch, two for each file
def test_a_disk_that_fills_stops_with_one_error_and_what_it_advises_works(
    tmp_path: Path, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, net = tiny_net(), tiny_net()
    train(whole, run_dir=tmp_path / "whole")
    folder = tmp_path / "run"
    real, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > before:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left on device\)") as caught:
        train(net, run_dir=folder)
    monkeypatch.undo()
    resumable = (folder / LAST).exists()
    assert not list(folder.rglob("*.tmp"))
    assert ("then resume from last.ckpt" in str(caught.value)) == resumable
    assert ("then begin again" in str(caught.value)) != resumable
    again = tiny_net()
    train(again, run_dir=folder, resume=resumable)
    assert_same(whole, again)
    lines = [(path / "history.jsonl").read_text().splitlines() for path in (folder, tmp_path / "whole")]
    assert [json.loads(line)["losses"] for line in lines[0]] == [json.loads(line)["losses"] for line in lines[1]]


def test_a_key_of_the_recipe_that_is_younger_than_the_checkpoint_has_its_default_there(tmp_path: Path) -> None:
    short = RECIPE.model_copy(update={"epochs": 1})
    train(tiny_net(), short, run_dir=tmp_path)
    held = Checkpoint.load(tmp_path / LAST)
    older = {key: value for key, value in held.recipe.items() if key not in ("learn", "measured")}
    replace(held, recipe=older).save(tmp_path / LAST)
    train(tiny_net(), short, run_dir=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"the recipe has changed \(measured 2 -> 3\)"):
        train(tiny_net(), short.model_copy(update={"measured": 3}), run_dir=tmp_path, resume=True)


def test_resuming_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"last\.ckpt: no such file"):
        train(tiny_net(), run_dir=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="resume needs run_dir"):
        train(tiny_net(), resume=True)
    short = RECIPE.model_copy(update={"epochs": 1})
    train(tiny_net(), short, run_dir=tmp_path)
    with pytest.raises(CheckpointError, match="already holds a run: resume it"):
        train(tiny_net(), short, run_dir=tmp_path)
    with pytest.raises(CheckpointError, match=r"the recipe has changed \(epochs 1 -> 3\)"):
        train(tiny_net(), run_dir=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="6 steps an epoch then, 3 now"):
        train(tiny_net(), short, tiny_data(24), run_dir=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="belongs to another network"):
        train(tiny_net(controller=True), short, run_dir=tmp_path, resume=True)


def test_a_loss_that_is_not_finite_names_the_width() -> None:
    net = tiny_net()
    calibrate(net, [tiny_data()[0]])
    net.get_parameter("linear.bias").data[0] = torch.nan
    with pytest.raises(TrainingError, match="step 0: the loss of width 8 is nan"):
        train(net)


def one_sided(net: Net) -> Net:
    """A controller that takes its first width, whatever it reads."""
    bias = net.layer("controller.logits").bias
    assert bias is not None
    with torch.no_grad():
        bias.view(-1, len(net.space.choices))[:, 0] += 1000.0  # no Gumbel noise reaches it
    return net


def test_warnings_reach_the_logger_and_the_history(caplog: pytest.LogCaptureFixture) -> None:
    recipe = RECIPE.model_copy(
        update={"epochs": 8, "controller_lr": 1e-6, "beta": 0.0, "consistency": "none", "settle": 0.99}
    )
    with caplog.at_level(logging.WARNING, "dqt.train"):
        history = train(one_sided(tiny_net(controller=True, seed=4)), recipe)
    said = [text for row in history.rows for text in row["warnings"]]
    assert [record.getMessage() for record in caplog.records if record.name == "dqt.train"] == said
    assert any("the controller collapsed" in text for text in said)
    assert any("the controller ignores its input" in text for text in said)


def test_what_calibration_finds_is_said_as_training_warns(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """On the logger, once, and in the history; not as a Python warning (which would be an error here)."""
    x, y = tiny_data()
    x[3, 0, 2, 1] = 500.0
    recipe = RECIPE.model_copy(update={"epochs": 2, "calibration_batches": 99})
    with caplog.at_level(logging.WARNING, "dqt.train"):
        history = train(tiny_net(), recipe, (x, y), run_dir=tmp_path)
    said = [record.getMessage() for record in caplog.records if record.name == "dqt.train"]
    found = [text for text in said if text.startswith("calibration: ")]
    assert len(found) == 1
    assert found[0].startswith("calibration: the input: 500 in batch ")
    assert found[0] in history.rows[0]["warnings"]
    assert found[0] not in history.rows[1]["warnings"]


def test_settings_that_cannot_work_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"devices": 3}, r"recipe\.devices 3, but 1 process\(es\) .* torchrun --nproc-per-node 3"),
        ({"valid_widths": (3,)}, r"valid_widths \[3\] are not among the network's widths \(2, 4, 8\)"),
        ({"accelerator": "cuda"}, r"recipe\.accelerator 'cuda'"),
    ]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for change, message in cases:
        with pytest.raises(RecipeError, match=message):
            train(tiny_net(), RECIPE.model_copy(update=change))
    with pytest.raises(DataError, match="no samples"):
        train(tiny_net(), RECIPE, (torch.zeros(0, 1, 6, 6), torch.zeros(0, dtype=torch.int64)))


@pytest.mark.parametrize("asked", ["auto", "gpu", "mps"])
def test_a_machine_whose_gpu_has_no_float64_trains_on_its_processor(
    asked: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for choice in ("_choose_auto_accelerator", "_choose_gpu_accelerator_backend"):
        monkeypatch.setattr(f"lightning_fabric.connector._Connector.{choice}", staticmethod(lambda: "mps"))
    recipe = RECIPE.model_copy(update={"accelerator": asked, "epochs": 1})
    if asked == "auto":
        assert train(tiny_net(), recipe).rows
        assert "this run is on the CPU" in caplog.text
    else:
        with pytest.raises(RecipeError, match=f"recipe.accelerator '{asked}': .* has no float64.*: use \"cpu\""):
            train(tiny_net(), recipe)


def test_a_signal_during_validation_stops_after_its_epoch(tmp_path: Path) -> None:
    whole, net = tiny_net(), tiny_net()
    train(whole)
    cut = Cut(*tiny_data(), after=5, number=signal.SIGINT)  # of the validation of the first epoch
    with pytest.raises(Stopped, match="stopped after step 6 of 18"):
        fit(net, tiny_data(), cut, RECIPE, run_dir=tmp_path, progress=False)
    resumed = tiny_net()
    train(resumed, run_dir=tmp_path, resume=True)
    assert_same(whole, resumed)


def test_mixed_precision_trains() -> None:
    net = tiny_net()
    history = train(net, RECIPE.model_copy(update={"epochs": 4, "precision": "bf16-mixed"}))
    assert history.accuracy["8"] > 0.6
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_without_validation_there_is_no_best(tmp_path: Path) -> None:
    history = fit(
        tiny_net(), tiny_data(), None, RECIPE.model_copy(update={"epochs": 1}), run_dir=tmp_path, progress=False
    )
    assert history.accuracy == {}
    assert not (tmp_path / "best.ckpt").exists()


def test_a_data_sets_info_travels_in_the_checkpoint(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (24, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = DataSet("mine", images, torch.arange(24) % 3, (0.5,), (0.3,), ("a", "b", "c"))
    fit(tiny_net(), data, data, RECIPE.model_copy(update={"epochs": 1}), run_dir=tmp_path, progress=False)
    checkpoint = Checkpoint.load(tmp_path / "last.ckpt")
    assert checkpoint.info == {"data": "mine", "mean": [0.5], "std": [0.3], "classes": ["a", "b", "c"]}
    assert checkpoint.shape == [1, 6, 6]


def test_norm_statistics_taken_anew_are_the_mean_over_batches(net: Net) -> None:
    x, _ = tiny_data(32)
    norm = net.get_submodule("bn")
    assert isinstance(norm, Norm)
    net.eval()
    ranges = {name: value.clone() for name, value in net.clips().items()}
    seen: list[Tensor] = []
    reestimate(net, [x[:16], x[16:]])
    first = norm.set_of(4).running_mean.clone()
    reestimate(net, [x[:16]])
    seen.append(norm.set_of(4).running_mean.clone())
    reestimate(net, [x[16:]])
    seen.append(norm.set_of(4).running_mean.clone())
    torch.testing.assert_close(first, (seen[0] + seen[1]) / 2)
    assert not torch.equal(norm.set_of(4).running_mean, norm.set_of(2).running_mean)
    for name, value in net.clips().items():
        assert torch.equal(value, ranges[name]), name
    assert not net.training
    assert norm.momentum == 0.1


def train_as_one_of_several(folder: str) -> None:
    net = tiny_net(controller=True)
    recipe = RECIPE.model_copy(update={"devices": "auto", "epochs": 2, "batch_size": 4})
    history = fit(net, tiny_data(), tiny_data(31, 2), recipe, run_dir=folder, progress=False)
    rank = torch.distributed.get_rank()
    torch.save({"net": net.state_dict(), "rows": list(history.rows)}, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_hold_the_same_network(tmp_path: Path) -> None:
    together(train_as_one_of_several, [str(tmp_path / "run")])
    one, other = (torch.load(tmp_path / "run" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in one["net"].items():
        assert torch.equal(value, other["net"][name]), name
    checkpoint = Checkpoint.load(tmp_path / "run" / "last.ckpt")
    assert all(torch.equal(value, one["net"][name]) for name, value in checkpoint.net.items())
    assert checkpoint.step == 12  # 48 samples, two processes of 4 a step, 2 epochs
    assert [row["accuracy"] for row in one["rows"]] == [row["accuracy"] for row in other["rows"]]
    single = tiny_net(controller=True)
    single.load_state_dict(one["net"])
    plans = (8, 4, 2, "auto")
    source = source_of(tiny_data(31, 2), RECIPE)
    alone, both = (
        accuracies(evaluate(single, source, plans, torch.device("cpu")), plans),
        one["rows"][-1]["accuracy"],
    )
    assert alone.pop(AUTO_SHARE) == pytest.approx(both.pop(AUTO_SHARE))  # a mean: its order of summation differs
    assert alone == both


def test_a_second_signal_interrupts_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)  # a shell's background jobs ignore it
    with processes.stop_flag() as flag:
        os.kill(os.getpid(), signal.SIGTERM)
        assert flag.raised
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_model_needs_no_calibration_twice() -> None:
    net = tiny_net()
    train(net, RECIPE.model_copy(update={"epochs": 1}))
    correction = net.layer("linear").correction.clone()
    train(net, RECIPE.model_copy(update={"epochs": 1}))
    assert torch.equal(net.layer("linear").correction, correction)


def test_the_float_model_is_not_touched() -> None:
    model = Tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(prepare(model, torch.randn(2, 1, 6, 6), Config(widths=(2, 4, 8))), RECIPE.model_copy(update={"epochs": 1}))
    for name, value in model.state_dict().items():
        assert torch.equal(before[name], value), name


def test_a_float_teacher_is_asked_for_and_given_together() -> None:
    taught = RECIPE.model_copy(update={"teacher": "float", "epochs": 1})
    teacher = Tiny()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    assert train(tiny_net(), taught, teacher=teacher).rows[-1]["losses"] != train(tiny_net(), RECIPE).rows[0]["losses"]
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    for recipe, given in ((taught, None), (RECIPE, teacher)):
        with pytest.raises(RecipeError, match=r"recipe.teacher is '\w+': pass fit\(teacher=...\)"):
            train(tiny_net(), recipe, teacher=given)


def test_norm_statistics_come_from_images_as_training_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = load("digits", valid=100)
    data = splits.train.take(slice(0, 128))
    seen: list[Tensor] = []
    monkeypatch.setattr("dqt.train.trainer.reestimate", lambda _, batches: seen.extend(batches))
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    net = prepare(model, (torch.zeros(2, 1, 8, 8),), Config(widths=(2, 8)))
    fit(net, data, None, Recipe(epochs=1, batch_size=32, reestimate_batches=4, devices=1), progress=False)
    plain = {tuple(image.flatten().tolist()) for image in data.inputs()}
    given = [tuple(image.flatten().tolist()) for image in torch.cat(seen)]
    assert len(given) == 128
    assert sum(image in plain for image in given) < 64  # a shift by up to one pixel leaves one in nine as it was


class Wrapped(nn.Module):
    """Logits in a dict."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"logits": self.model(x), "hidden": None}


def test_a_teacher_may_return_a_dict_and_must_fit() -> None:
    taught = RECIPE.model_copy(update={"teacher": "float", "epochs": 1})
    teacher = Tiny()
    plain = train(tiny_net(), taught, teacher=teacher).rows[0]["losses"]
    assert train(tiny_net(), taught, teacher=Wrapped(teacher)).rows[0]["losses"] == plain
    with pytest.raises(RecipeError, match="the teacher is an object of type str"):
        train(tiny_net(), taught, teacher="resnet")
    with pytest.raises(InputError, match="the teacher gives"):
        train(tiny_net(), taught, teacher=nn.Sequential(nn.Flatten(), nn.Linear(36, 7)))


def test_fit_trains_where_gradients_are_off() -> None:
    one = RECIPE.model_copy(update={"epochs": 1})
    want = train(tiny_net(), one).rows[0]["losses"]
    with torch.no_grad():
        found = train(tiny_net(), one).rows[0]["losses"]
    assert found == want
