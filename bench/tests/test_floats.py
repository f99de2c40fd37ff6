"""Float training and the long experiments: what a signal stopped ends as what was not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.evidence import floats, records, training
from bench.evidence.__main__ import AGAIN, main
from bench.pages import results
from bench.tests.test_evidence import arguments, write
from dqt.train.checkpoint import LAST, read
from dqt.train.processes import StopFlag
from dqt.train.recipe import load_run
from dqt.train.trainer import Trainer

FLOAT = """
[model]
factory = "dqt.train.models:resnet18_cifar"
args = { planes = [4, 4, 8, 8], channels = 1 }

[data]
spec = "npz=data/tiny.npz"
flip = true
pad = 1

[recipe]
epochs = 2
batch_size = 32
lr = 0.1
weight_decay = 5e-4
label_smoothing = 0.1
seed = 3
accelerator = "cpu"
"""


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Send SIGTERM after ``step`` of the float training, once."""
    looked = floats.FloatTraining._look_at_the_clock

    def look(self: floats.FloatTraining, flag: StopFlag) -> None:
        if self.step == step:
            signal.raise_signal(signal.SIGTERM)
        looked(self, flag)

    monkeypatch.setattr(floats.FloatTraining, "_look_at_the_clock", look)


@pytest.mark.parametrize("step", [1, 7, 9])  # inside the first epoch of 7 steps, at its end, inside the second
def test_float_training_that_was_stopped_equals_an_uninterrupted_one(
    folder: Path, step: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tiny.toml").write_text(FLOAT)
    whole, parts = (
        [*arguments(folder, "float", "tiny.toml"), "--folder", str(folder / name), "--weights", str(folder / kept)]
        for name, kept in (("whole", "whole.safetensors"), ("parts", "parts.safetensors"))
    )
    assert main(whole) == 0
    first = records.load_floats(folder / "results")[0]
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        assert main(parts) == AGAIN
    assert "give the same command again" in capsys.readouterr().err
    assert read(folder / "parts" / LAST)["step"] == step
    assert not (folder / "parts.safetensors").exists()
    assert main(parts) == 0
    (second,) = records.load_floats(folder / "results")
    assert (second.losses, second.accuracy, second.weights) == (first.losses, first.accuracy, first.weights)
    assert [note["resumed"] for note in second.started] == [False, True]
    assert str(folder) not in second.model_dump_json()
    a, b = (read(folder / name / LAST) for name in ("whole", "parts"))
    assert_equal(a["net"], b["net"])
    assert_equal(a["optimizer"]["state"], b["optimizer"]["state"])
    kept = load_file(folder / "parts.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in a["net"].items())


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        same = torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else assert_equal(value, b[name]) is None
        assert same, name


def test_a_float_run_of_another_recipe_or_with_weights_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tiny.toml").write_text(FLOAT.replace("epochs = 2", "epochs = 1"))
    assert main(arguments(folder, "float", "tiny.toml")) == 0
    assert (folder / "tiny.safetensors").exists()
    (folder / "tiny.toml").write_text(FLOAT)
    assert main(arguments(folder, "float", "tiny.toml")) == 1
    assert "recipe.epochs" in capsys.readouterr().err
    (folder / "tiny.toml").write_text(FLOAT.replace("[data]", 'weights = "data/x.safetensors"\n[data]'))
    assert main(arguments(folder, "float", "tiny.toml")) == 1
    assert "begins anew" in capsys.readouterr().err


def test_a_run_that_a_signal_stopped_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "tiny.toml")
    whole = [*arguments(folder, "run", "tiny.toml"), "--folder", str(folder / "whole")]
    assert main(whole) == 0
    expected = records.load(folder / "results" / "tiny-s0.json")
    (folder / "results" / "tiny-s0.json").unlink()
    after = Trainer._after_step

    def over(self: Trainer) -> None:
        if self.state.step == 2:
            signal.raise_signal(signal.SIGTERM)
        after(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_after_step", over)
        assert main(arguments(folder, "run", "tiny.toml")) == AGAIN
    last = folder / "runs" / "tiny-s0" / LAST
    assert last.exists()
    assert not (folder / "results" / "tiny-s0.json").exists()
    assert main(arguments(folder, "run", "tiny.toml")) == 0
    found = records.load(folder / "results" / "tiny-s0.json")
    assert_equal(read(folder / "whole" / LAST)["net"], read(last)["net"])
    assert [(p.label, p.accuracy, p.share) for p in found.points] == [
        (p.label, p.accuracy, p.share) for p in expected.points
    ]


def test_every_float_recipe_is_a_run_file_that_feeds_a_recipe_or_stands_beside_one() -> None:
    assert set(training.names(training.FLOATS)) == set(results.FLOATS)
    runs = {name: training.run_of(name) for name in training.names()}
    fed = {run.model.weights for run in runs.values()}
    for name in results.FLOATS:
        own = load_run(training.FLOATS / f"{name}.toml")
        assert own.model.weights is None
        if name in runs:  # a rival from scratch: the same network, images, epochs and rate
            rival = runs[name]
            assert (own.model, own.data, own.recipe.epochs, own.recipe.lr, own.recipe.batch_size) == (
                rival.model,
                rival.data,
                rival.recipe.epochs,
                rival.recipe.lr,
                rival.recipe.batch_size,
            )
        else:
            assert f"{training.PREFIX}{name}.safetensors" in fed
