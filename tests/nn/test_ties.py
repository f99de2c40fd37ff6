"""Parameters that a model uses twice: each place has a layer of its own, and one parameter trains."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dqt
from dqt.nn.run import Run
from dqt.testing.networks import Model, conv, ready

SHAPE = (4, 6, 6)


def tied_head(m: Any, x: Tensor) -> Tensor:
    return F.linear(m.fc(x.flatten(1)), m.fc.weight.t())


CASES: dict[str, tuple[Callable[[Any, Tensor], Tensor], tuple[str, ...]]] = {
    "a layer twice": (lambda m, x: m.a(F.relu(m.a(x))), ("a", "a_1")),
    "a layer in a loop": (lambda m, x: m.a(F.relu(m.a(F.relu(m.a(x))))), ("a", "a_1", "a_2")),
    "a block twice": (lambda m, x: m.block(m.block(x)), ("block.0", "block.0_1")),
    "a norm twice": (lambda m, x: m.bn(m.b(m.bn(m.a(x)))), ("a", "b")),
    "its weight alone": (lambda m, x: m.b(F.conv2d(m.a(x), m.b.weight, padding=1)), ("b", "a", "b_1")),
    "one module, two names": (lambda m, x: m.twin(F.relu(m.a(x))), ("a", "a_1")),
    "a constant twice": (lambda m, x: m.a(x * m.p + 1) * m.p, ("a",)),
    "a computed weight twice": (lambda m, x: m.w(F.relu(m.w(x))), ("w", "w_1")),
}


def model_of(call: Callable[[Any, Tensor], Tensor]) -> Model:
    torch.manual_seed(4)
    a, block = conv(), nn.Sequential(conv(bias=False), nn.BatchNorm2d(4), nn.ReLU())
    w = nn.utils.parametrizations.weight_norm(conv())
    model = Model(call, a=a, b=conv(), twin=a, block=block, bn=nn.BatchNorm2d(4), w=w, fc=nn.Linear(144, 20))
    model.register_parameter("p", nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.25]).view(4, 1, 1)))
    for norm in (block[1], model.bn):
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        norm.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize("name", CASES)
def test_the_network_computes_what_the_model_does(name: str) -> None:
    call, layers = CASES[name]
    model = model_of(call)
    net, x = ready(model, SHAPE, widths=(2, 5, 8))
    assert sorted(net.layers) == sorted(layers)
    with torch.no_grad():
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), model(x), rtol=1e-4, atol=1e-5)
    program, plan = dqt.lower(net), {layer: (5, 2)[i % 2] for i, layer in enumerate(net.layers)}
    for each in (8, 5, plan):
        np.testing.assert_array_equal(program(x, each), net(x, each, exact=True).numpy())


@pytest.mark.parametrize(
    "name", [name for name in CASES if name not in ("its weight alone", "a computed weight twice")]
)
def test_it_trains_as_the_model_does(name: str) -> None:
    """One step of the network in float is one step of the model."""
    model = model_of(CASES[name][0])
    net, x = ready(model, SHAPE, widths=(8,))
    for network in (net, model):
        assert len(set(map(id, network.parameters()))) == len(list(network.parameters()))
        output = net._run(x, Run({}, quantized=False), False) if network is net else model(x)
        output.square().mean().backward()
        torch.optim.SGD([p for p in network.parameters() if p.grad is not None], 0.1).step()
    with torch.no_grad():
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), model(x), rtol=1e-3, atol=1e-4)


def test_copies_and_moves_stay_tied() -> None:
    net, x = ready(model_of(CASES["a layer twice"][0]), SHAPE, widths=(2, 8))
    other, _ = ready(model_of(CASES["a layer twice"][0]), SHAPE, widths=(2, 8))
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other(x, 2, exact=True).numpy(), net(x, 2, exact=True).numpy())
    for each in (net, copy.deepcopy(net), net.to(torch.float16)):
        first, second = (each.layer(name) for name in ("a", "a_1"))
        assert first.weight is second.weight
        assert first.bias is second.bias
        assert first.clip is second.clip
        assert first.correction is not second.correction


def test_two_forms_of_a_parameter_are_said_to_come_apart() -> None:
    model = model_of(tied_head)
    with pytest.warns(
        dqt.TieWarning, match=r"fc\.weight is used by fc, and in another form by .*: both have its values"
    ):
        net = dqt.prepare(model, torch.randn(2, *SHAPE))
    assert len(net.layers) == 2
    model.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dqt.prepare(model, torch.randn(2, *SHAPE))


def test_fit_trains_a_shared_layer() -> None:
    net, x = ready(model_of(lambda m, x: m.fc(m.a(F.relu(m.a(x))).flatten(1))), SHAPE, widths=(2, 8))
    before = net.layer("a").weight.detach().clone()
    labels = torch.arange(len(x)) % 20
    dqt.fit(net, (x, labels), recipe=dqt.Recipe(epochs=1, batch_size=6, lr=0.05))
    first, second = (net.layer(name) for name in ("a", "a_1"))
    assert first.weight is second.weight
    assert not torch.equal(first.weight, before)
    np.testing.assert_array_equal(dqt.lower(net)(x, 2), net(x, 2, exact=True).numpy())
