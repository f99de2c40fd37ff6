"""Known failures are said once per event, with step, place, value and what to do; healthy training is silent."""

from __future__ import annotations

import math

import pytest
import torch

from dqt.train.watch import TrainingError, Watch


def feed(watch: Watch, label: str, values: list[float], start: int = 0) -> list[str]:
    said = []
    for i, value in enumerate(values):
        said += watch.losses(start + i, {label: value})
    return said


def test_healthy_training_is_silent() -> None:
    watch = Watch(8, 200)
    for step in range(200):
        fall = math.exp(-step / 50)
        assert watch.losses(step, {"8": 2 * fall, "2": 2.3 * fall + 0.2, "auto": 2.1 * fall}) == []
        assert watch.clips(step, {"a": torch.tensor(1 + step / 100), "w": torch.tensor([1.0, 0.5])}, {"a"}) == []
        widths = torch.tensor([2, 4, 8])[torch.arange(12).view(3, 4) % 3]  # rows differ
        assert watch.choices(step, widths, (2, 4, 8)) == []


def test_a_diverging_width_is_said_once_per_event() -> None:
    watch = Watch(8, 10_000)
    assert feed(watch, "2", [1.0] * 40) == []
    said = feed(watch, "2", [5.0] * 100, 40)
    assert len(said) == 1
    assert "the loss of width 2 diverges" in said[0]
    assert "its best was 1.000" in said[0]
    assert "raise alpha" in said[0]
    assert feed(watch, "2", [1.0] * 200, 140) == []
    assert len(feed(watch, "2", [5.0] * 100, 340)) == 1


def test_a_width_far_behind_the_master_is_said_late_in_training() -> None:
    watch = Watch(8, 200)
    said = [text for step in range(200) for text in watch.losses(step, {"8": 0.1, "2": 2.3})]
    assert len(said) == 1
    assert said[0].startswith("step 61: width 2 is left behind: loss 2.300, the master's 0.100")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_names_the_width(value: float) -> None:
    watch = Watch(8, 10)
    with pytest.raises(TrainingError, match=f"step 3: the loss of width 2 is {value}: lower the learning rate"):
        watch.losses(3, {"8": 1.0, "2": value})
    with pytest.raises(TrainingError, match="the controller's pass"):
        watch.losses(3, {"auto": value})


def test_clips_that_die_explode_or_drift() -> None:
    watch = Watch(8, 100)
    names = {"conv.weight": [1.0, 2.0], "act": 1.0, "range": 1.0}
    start = {name: torch.tensor(value) for name, value in names.items()}
    learned = {"conv.weight", "act"}
    assert watch.clips(0, start, learned) == []
    dead = watch.clips(1, start | {"conv.weight": torch.tensor([1e-4, 2.0])}, learned)
    assert len(dead) == 1
    assert "step 1: the clip of conv.weight dies: 0.0001" in dead[0]
    assert "weight_clip" in dead[0]
    wild = watch.clips(2, start | {"act": torch.tensor(99.0)}, learned)
    assert len(wild) == 1
    assert "the clip of act explodes: 99, 99 times" in wild[0]
    moved = watch.clips(3, start | {"range": torch.tensor(5.0)}, learned)
    assert len(moved) == 1
    assert "the range of range drifts: 5, it began at 1" in moved[0]
    assert watch.clips(4, start | {"range": torch.tensor(5.5)}, learned) == []
    nan = watch.clips(5, start | {"act": torch.tensor(math.nan)}, learned)
    assert len(nan) == 2  # neither above death nor below explosion


def test_a_collapsed_controller() -> None:
    watch = Watch(8, 100)
    said = [text for step in range(60) for text in watch.choices(step, torch.full((8, 3), 4), (2, 4, 8))]
    assert len(said) == 2
    assert said[0].startswith("step 19: the controller collapsed: 4 bits in 100.0% of its choices")
    assert said[1].startswith("step 19: the controller ignores its input")
    assert Watch(8, 100).choices(0, torch.full((8, 3), 4), (4,)) == []


def test_a_controller_with_one_plan_for_all() -> None:
    watch = Watch(8, 100)
    plan = torch.tensor([[2, 4, 8]]).expand(8, 3)
    said = [text for step in range(60) for text in watch.choices(step, plan, (2, 4, 8))]
    assert len(said) == 1
    assert said[0].startswith("step 19: the controller ignores its input")
    other = torch.tensor([[2, 4, 8], [2, 4, 4]])
    assert [text for step in range(60) for text in watch.choices(step, other, (2, 4, 8))] == []


def test_its_memory_travels_with_a_checkpoint() -> None:
    first = Watch(8, 10_000)
    feed(first, "2", [1.0] * 40)
    feed(first, "2", [5.0] * 30, 40)
    second = Watch(8, 10_000)
    second.load(first.state())
    assert feed(first, "2", [5.0] * 5, 70) == feed(second, "2", [5.0] * 5, 70) == []
    assert first.state() == second.state()
