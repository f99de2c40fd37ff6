"""A plain loop of one's own, and what people do to modules in it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dqt
from dqt.nn.net import Net

from .conftest import Tiny, tiny_data, tiny_net

RECIPE = dqt.Recipe(consistency="sandwich", distill=0.5)
STEPS, SIZE = 12, 16


def calibrated_net(**options: Any) -> Net:
    return dqt.calibrate(tiny_net(**options), [tiny_data()[0]]).train()


def plain_losses(net: Net, lr: float = 0.05) -> list[float]:
    """The plain loop of the guide, in the order of the data."""
    x, y = tiny_data()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    losses = []
    for step in range(STEPS):
        rows = slice(step * SIZE % len(x), step * SIZE % len(x) + SIZE)
        optimizer.zero_grad()
        loss = dqt.objective(net, x[rows], y[rows], RECIPE, step=step, total_steps=STEPS).loss
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_what_is_frozen_stays_so_in_a_loop_of_ones_own() -> None:
    net = calibrated_net()
    net.layer("conv").weight.requires_grad_(False)
    norm = net.norm("bn")
    assert norm is not None
    norm.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    plain_losses(net)
    after = net.state_dict()
    assert torch.equal(after["conv.weight"], before["conv.weight"])
    assert torch.equal(after["bn.running_mean"], before["bn.running_mean"])
    assert not torch.equal(after["linear.weight"], before["linear.weight"])


def test_hooks_see_every_pass() -> None:
    net, seen = calibrated_net(), []
    handle = net.layer("conv").register_forward_hook(lambda *_: seen.append(1))
    x, y = tiny_data()
    dqt.objective(net, x, y, dqt.Recipe(consistency="all"), backward=Tensor.backward)
    assert len(seen) == len(net.space.widths)
    handle.remove()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_train_on_their_own(copied: Any) -> None:
    net = calibrated_net()
    other = copied(net)
    assert plain_losses(other) == plain_losses(calibrated_net())
    before = {name: value.clone() for name, value in calibrated_net().state_dict().items()}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_inference_mode_gives_the_integers_and_leaves_the_network_trainable() -> None:
    net = calibrated_net().eval()
    x, _ = tiny_data()
    expected = net(x, 2, exact=True)
    with torch.inference_mode():
        assert torch.equal(net(x, 2, exact=True), expected)
        net(x, 4)
    assert plain_losses(net.train())[-1] < 2.0


# torch.compile makes an object of each autograd function that it meets, which torch itself warns of.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_data_parallel_and_compiled_networks_give_the_same() -> None:
    x, _ = tiny_data()
    net = calibrated_net().eval()
    with torch.no_grad():
        expected = net(x, 4)
        assert torch.equal(nn.DataParallel(net)(x, 4), expected)
        compiled = torch.compile(net, backend="eager")
        torch.testing.assert_close(compiled(x, 4), expected)
        assert torch.equal(compiled(x, 4, exact=True), net(x, 4, exact=True))


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_wrapped_models_are_prepared_as_what_is_inside(wrap: Any) -> None:
    torch.manual_seed(0)
    model = Tiny()
    x, _ = tiny_data()
    net, plain = (dqt.prepare(each, x[:2], dqt.Config(widths=(2, 8))) for each in (wrap(model), model))
    assert net.layers == plain.layers
    assert torch.equal(net.eval()(x, 2), plain.eval()(x, 2))
