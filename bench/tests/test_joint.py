"""A classifier inside of a network, and what tells who gains by more bits."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dqt
from bench import demo, knows
from bench.evidence.joint import CONTROLLER, MAIN, SECOND, TwoAnswers, begun, task, with_second
from bench.joint import alone
from bench.pages import joint as page
from dqt.nn.net import Net
from dqt.train.checkpoint import Checkpoint
from dqt.train.models import wide_cnn


@pytest.fixture(scope="module")
def whole() -> tuple[Net, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(16, 3, 32, 32)
    net = dqt.prepare(TwoAnswers().eval(), x[:2], dqt.Config(norm="per_width", controller=CONTROLLER))
    return dqt.calibrate(net, [x]), x


def test_without_the_second_classifier_it_answers_the_same(whole: tuple[Net, torch.Tensor]) -> None:
    net, x = whole
    program, both = alone(net), dqt.lower(net)
    assert [output.name for output in both.outputs] == [MAIN, SECOND]
    for b in (2, 3, 8):
        np.testing.assert_array_equal(dqt.interpret(program, x.numpy(), b), dqt.interpret(both, x.numpy(), b)[MAIN])


def test_a_network_gets_a_second_classifier_and_stays_what_it_was(whole: tuple[Net, torch.Tensor]) -> None:
    net, x = whole
    config = net.config.model_copy(update={"controller": None})
    before = dqt.calibrate(dqt.prepare(wide_cnn().eval(), x[:2], config), [x])
    start = Checkpoint(
        None, {}, before.state_dict(), None, {}, {}, 0, 0, 0, {"sums": {}, "warnings": []}, [], {}, [3, 32, 32], {}
    )
    made = with_second(TwoAnswers().eval(), start, [x])
    again = dqt.prepare(TwoAnswers().eval(), x[:2], net.config)
    again.load_state_dict(made.net)
    np.testing.assert_array_equal(
        dqt.interpret(dqt.lower(again), x.numpy(), 4)[MAIN], dqt.interpret(dqt.lower(before), x.numpy(), 4)
    )


def test_the_second_classifier_is_fitted_and_both_losses_count() -> None:
    torch.manual_seed(0)
    x, labels = torch.randn(40, 3, 32, 32), torch.arange(40) % 10
    model = TwoAnswers()
    begun(model, x, labels)
    with torch.no_grad():
        answers = model(x)
    assert (answers[SECOND].argmax(1) == labels).float().mean() > 0.9  # as many features as could tell them apart
    loss = task().loss
    assert callable(loss)
    better = {**answers, SECOND: 100 * torch.eye(10)[labels]}
    assert float(loss(better, labels).mean()) < float(loss(answers, labels).mean())
    divergence = task().divergence
    assert divergence is not None
    assert float(divergence({MAIN: answers[MAIN], SECOND: answers[MAIN]}, answers[MAIN])) == pytest.approx(0, abs=1e-5)


def test_a_rank_is_that_of_what_was_not_learned_from() -> None:
    rng = np.random.default_rng(0)
    knowing, noise = rng.normal(size=(400, 1)), rng.normal(size=(400, 1))
    gains = knowing[:, 0] > 1
    assert knows.rank(knowing, gains, 0) == 100
    assert 35 < knows.rank(noise, gains, 0) < 65


def test_the_demo_is_run_once_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = demo.recipes(3)
    assert all(text.count("seed = 3\n") == 1 for text in texts.values())
    runs: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        runs.append(command)
        return subprocess.CompletedProcess(command, 0, '{"results": {}}')

    monkeypatch.setattr(subprocess, "run", run)
    first = demo.ran(tmp_path, 3)
    assert demo.ran(tmp_path, 3) == first
    assert len(runs) == 1
    assert demo.ran(tmp_path, 4) == first
    assert len(runs) == 2


def test_the_page_of_the_joint_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    assert page.block() == ""
