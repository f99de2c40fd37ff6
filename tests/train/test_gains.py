"""The controller alone: it learns what was measured, and nothing else moves."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dqt.nn.controller_alone import PREFIXES
from dqt.nn.net import Net
from dqt.train.build import rebuild
from dqt.train.checkpoint import CheckpointError, start_from
from dqt.train.fit import fit
from dqt.train.gains import fit_controller
from dqt.train.loss import chosen_share
from dqt.train.processes import Stopped
from dqt.train.recipe import ModelPart, Recipe, RecipeError
from tests.train.conftest import tiny_data, tiny_net

ALONE = Recipe(
    learn="controller", epochs=60, batch_size=24, optimizer="adamw", lr=0.02, beta=3.0, bitops=0.65, gumbel_end=0.2
)


def trained(*, controller: bool = True) -> Net:
    net = tiny_net(controller=controller)
    fit(net, tiny_data(), recipe=Recipe(epochs=1, batch_size=24, lr=0.01, bitops=0.65), progress=False)
    return net


def bright_needs_bits(x: Tensor, b: int) -> Tensor:
    """Logits that are right for class 2 (the brightest) at 8 bits alone, and for the others always."""
    label = x.mean((1, 2, 3)).add(1).round().clamp(0, 2).long()
    wrong = (label == 2) & (b < 8)
    logits = torch.nn.functional.one_hot(torch.where(wrong, 0, label), 3)
    return 6.0 * logits.float()


def test_samples_that_gain_get_the_bits_and_nothing_else_moves() -> None:
    net = trained()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    history = fit_controller(net, tiny_data(), tiny_data(seed=2), ALONE, judge=bright_needs_bits, progress=False)
    for name, value in net.state_dict().items():
        if not name.startswith(PREFIXES):
            assert torch.equal(value, before[name]), name
    x, y = tiny_data(90, seed=3)
    _, choice = net.route(x, exact=True)
    means = [float(choice.widths[y == label].float().mean()) for label in range(3)]
    assert means[2] > max(means[:2]) + 1
    assert (choice.widths == choice.widths[:, :1]).all(), "every layer of a sample has one width"
    assert abs(float(chosen_share(net.space, choice.widths).mean()) - ALONE.bitops) < 0.2
    assert set(history.accuracy) == {"auto", "auto_share"}
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_the_same_seed_gives_the_same_controller() -> None:
    nets = [trained(), trained()]
    short = ALONE.model_copy(update={"epochs": 3})
    for net in nets:
        fit_controller(net, tiny_data(), recipe=short, progress=False)
    for one, other in zip(*(net.state_dict().values() for net in nets), strict=True):
        assert torch.equal(one, other)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def judge(x: Tensor, b: int) -> Tensor:
        calls.append(b)
        return bright_needs_bits(x, b)

    short = ALONE.model_copy(update={"epochs": 2})
    first = fit_controller(trained(), tiny_data(), recipe=short, judge=judge, run_dir=tmp_path, progress=False)
    assert sorted(set(calls)) == [2, 4, 8]
    with pytest.raises(CheckpointError, match="already holds a run"):
        fit_controller(trained(), tiny_data(), recipe=short, judge=judge, run_dir=tmp_path)
    (tmp_path / "last.ckpt").unlink()
    calls.clear()
    again = fit_controller(trained(), tiny_data(), recipe=short, judge=judge, run_dir=tmp_path, progress=False)
    assert not calls
    assert [row["losses"] for row in again.rows] == [row["losses"] for row in first.rows]
    (tmp_path / "last.ckpt").unlink()
    other = trained()
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    fit_controller(other, tiny_data(), recipe=short, judge=judge, run_dir=tmp_path, progress=False)
    assert calls, "another network is measured anew"


@pytest.mark.parametrize("last", [1, 2, 3])  # of three batches: the first, one between, the last
def test_measuring_goes_on_at_the_batch_where_it_was_stopped(tmp_path: Path, last: int) -> None:
    data, short = tiny_data(600), ALONE.model_copy(update={"epochs": 1, "measured": 1})
    calls: list[int] = []

    def judge(x: Tensor, b: int) -> Tensor:
        calls.append(len(x))
        if len(calls) == 3 * last:  # three widths a batch
            signal.raise_signal(signal.SIGTERM)
        return bright_needs_bits(x, b)

    whole = fit_controller(trained(), data, recipe=short, judge=bright_needs_bits, progress=False)
    with pytest.raises(Stopped, match="copy 1 of 1"):
        fit_controller(trained(), data, recipe=short, judge=judge, run_dir=tmp_path, progress=False)
    again = fit_controller(trained(), data, recipe=short, judge=judge, run_dir=tmp_path, progress=False)
    assert calls == [256] * 6 + [600 - 512] * 3
    assert [row["losses"] for row in again.rows] == [row["losses"] for row in whole.rows]
    assert sorted(path.suffix for path in tmp_path.glob("[!.]*")) == [".ckpt", ".safetensors"]


def test_a_controller_is_added_to_the_state_of_a_run_without_one(tmp_path: Path) -> None:
    plain = tiny_net()
    fit(plain, tiny_data(), recipe=Recipe(epochs=1, batch_size=24, lr=0.01), run_dir=tmp_path, progress=False)
    net = start_from(tiny_net(controller=True, seed=5), tmp_path / "last.ckpt")
    x, _ = tiny_data()
    for b in (2, 4, 8):
        assert torch.equal(net(x, b, exact=True), plain.eval()(x, b, exact=True))
    with pytest.raises(CheckpointError, match="belongs to another network"):
        start_from(tiny_net(widths=(2, 8)), tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="names no model"):
        rebuild(tmp_path / "last.ckpt")


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(RecipeError, match="no controller"):
        fit_controller(trained(controller=False), tiny_data(), recipe=ALONE)
    with pytest.raises(RecipeError, match="fit_controller"):
        fit(tiny_net(controller=True), tiny_data(), recipe=ALONE)
    with pytest.raises(RecipeError, match="reaches"):
        fit_controller(trained(), tiny_data(), recipe=ALONE.model_copy(update={"bitops": 0.001}), progress=False)
    with pytest.raises(ValueError, match="both given"):
        ModelPart(factory="a:b", weights="w.safetensors", checkpoint="c.ckpt")
