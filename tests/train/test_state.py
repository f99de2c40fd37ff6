"""What changes as a run trains goes to a checkpoint and comes back whole, or is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dqt.nn.modes import Modes
from dqt.nn.net import Net
from dqt.train.average import Average
from dqt.train.checkpoint import CheckpointError
from dqt.train.feed import Feed
from dqt.train.recipe import Recipe
from dqt.train.record import Record
from dqt.train.sources import Held
from dqt.train.state import State, frozen_parts

from .conftest import tiny_data, tiny_net


class Scaler:
    """A loss scaler with one number."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def state_dict(self) -> dict[str, float]:
        return {"scale": self.scale}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.scale = state_dict["scale"]


def state_of(net: Net, scale: float = 1.0) -> State:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return State(net, optimizer, Scaler(scale), Average(net, 0.9), Record(net, 10), frozen_parts(net, Modes(net)))


def feed(batch: int = 8) -> Feed:
    return Feed(Held(tiny_data(), batch), 0, torch.device("cpu"))


def trained() -> State:
    """A state two steps into its second epoch."""
    state = state_of(tiny_net(), 8.0)
    for parameter in state.net.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert isinstance(state.optimizer, torch.optim.SGD)
    assert state.average is not None
    state.optimizer.step()
    state.average.update(state.net)
    state.record.add_step(7, torch.tensor(2.0), {"8": torch.tensor(2.0)}, None, None)
    state.record.warnings.append("a clip dies")
    state.record.rows.append({"epoch": 1})
    state.epoch, state.step = 1, 8
    return state


def test_a_checkpoint_brings_everything_back() -> None:
    before, after = trained(), state_of(tiny_net(seed=1))
    made = before.checkpoint(feed(), Recipe(), None)
    after.net.load_state_dict(made.net)
    after.go_on_from(made, feed())
    again = after.checkpoint(feed(), Recipe(), None)
    assert (again.epoch, again.step, again.steps_per_epoch, again.precision) == (1, 8, 6, {"scale": 8.0})
    assert (again.totals, again.history, again.watch) == (made.totals, made.history, made.watch)
    assert again.totals["sums"] == {"8": [2.0, 1.0]}
    assert made.average is not None
    assert again.average is not None
    assert all(torch.equal(again.average[name], value) for name, value in made.average.items())
    for one, other in zip(again.optimizer["state"].values(), made.optimizer["state"].values(), strict=True):
        assert torch.equal(one["momentum_buffer"], other["momentum_buffer"])
    assert after.average is not None
    assert after.average.steps == 8  # the decay goes on from there


def test_other_data_and_other_frozen_parts_are_refused() -> None:
    made = trained().checkpoint(feed(), Recipe(), None)
    with pytest.raises(CheckpointError, match="6 steps an epoch then, 3 now"):
        state_of(tiny_net()).go_on_from(made, feed(16))
    net = tiny_net()
    net.layer("conv").weight.requires_grad_(False)
    with pytest.raises(CheckpointError, match=r"frozen now than then \(conv.weight\)"):
        state_of(net).go_on_from(made, feed())
    older = replace(made, totals={name: value for name, value in made.totals.items() if name != "frozen"})
    state_of(net).go_on_from(older, feed())


def test_frozen_parts_are_parameters_without_gradient_and_modules_in_evaluation_mode() -> None:
    net = tiny_net().train()
    assert frozen_parts(net, Modes(net)) == []
    net.layer("stem").weight.requires_grad_(False)
    net.get_submodule("conv").eval()
    assert frozen_parts(net, Modes(net)) == ["conv", "stem.weight"]
