"""Corrupted images: a cascade that is computed from uniform widths is what the engine runs; corruptions corrupt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import dqt
from bench import robust
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.train.data import load


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(60, 200, (18, 3, 32, 32), dtype=np.uint8))


def test_a_cascade_from_uniform_widths_is_the_cascade_that_the_engine_runs(images: torch.Tensor) -> None:
    program = Program.load(dqt.example())
    labels = torch.arange(18) % 10
    like = load("digits").test
    data = replace(like, images=images, labels=labels, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    network = robust.Network(program)
    outcome = network.outcome(data, images)
    middle = int(np.sort(outcome.margin[network.widths.index(2)])[8])
    cascade = dqt.Cascade((2, 4), (middle,))  # 9 of 18 images run again
    found = network.judged(outcome, cascade)
    right = Runtime(program)(data.inputs().numpy(), cascade).argmax(1) == labels.numpy()
    assert found["top1"] == round(100 * float(right.mean()), 3)
    assert found["share"] == round(100 * (network.shares[0] + network.shares[2] / 2), 3)
    assert outcome.oracle >= max(outcome.top1)


def test_the_calibrated_cascade_keeps_its_budget() -> None:
    network = robust.Network(Program.load(dqt.example()))
    rng = np.random.default_rng(1)
    outcome = robust.Outcome(rng.random((7, 500)) < 0.7, rng.integers(0, 1000, (7, 500)))
    for bits in robust.BUDGETS:
        budget = network.budget(bits)
        assert network.judged(outcome, network.calibrated(outcome, budget))["share"] <= 100 * budget + 1e-3


@pytest.mark.parametrize("kind", robust.STRENGTHS)
def test_a_stronger_corruption_changes_pixels_more(kind: str, images: torch.Tensor) -> None:
    changes = [
        (robust.corrupted(images, kind, strength, 1).float() - images.float()).abs().mean()
        for strength in robust.STRENGTHS[kind]
    ]
    assert 0 < changes[0] < changes[1] < changes[2]


def test_noise_has_the_deviation_that_is_asked(images: torch.Tensor) -> None:
    grey = torch.full_like(images, 128)  # far from both ends: nothing is clipped
    found = robust.corrupted(grey, "noise", 0.04, 1).float().std() / 255
    assert abs(float(found) - 0.04) < 0.001


def test_every_corruption_is_dealt_to_as_many_images(images: torch.Tensor) -> None:
    made = robust.dealt(images)
    for i, (kind, strength) in enumerate(robust.SETS[1:]):
        one = robust.corrupted(images[i::9], kind, strength, robust.SEED)
        assert torch.equal(made[i::9], one)
