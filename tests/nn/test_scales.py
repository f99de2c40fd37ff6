"""Constants as operands: numbers, parameters, buffers, and what a model computes from these alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dqt
from dqt.nn.errors import UnsupportedError
from dqt.nn.graph import INPUT, Graph, Node
from dqt.nn.passes.fold_scales import fold_scales
from dqt.nn.scales import Scale, ScaleSpec
from dqt.testing.networks import ready

SHAPE = (3, 8, 8)


class Model(nn.Module):
    """A network that is a function of what it holds."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **held: Any) -> None:
        super().__init__()
        self.conv, self.other, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 5)
        self.call = forward
        for name, each in held.items():
            if isinstance(each, Tensor) and not isinstance(each, nn.Parameter):
                self.register_buffer(name, each)
            else:
                setattr(self, name, each)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.call(self, x).flatten(1))
        return result


def gains() -> Tensor:
    return torch.tensor([0.5, -1.0, 2.0, 0.125]).view(4, 1, 1)


def without_gradient(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = m.conv(x).relu()
    return y * 2.0 + 1.0


CASES: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, Any], list[str]]] = {
    "normalization of the input": (lambda m, x: m.conv((x - 0.45) / 0.25), {}, ["Conv"]),
    "by channel": (lambda m, x: m.conv((x - m.mean) / m.std),
                   {"mean": torch.rand(3, 1, 1), "std": torch.rand(1, 3, 1, 1) + 0.5}, ["Conv"]),
    "a factor after a layer": (lambda m, x: 0.5 * m.conv(x), {}, ["Conv"]),
    "layer scale": (lambda m, x: m.g * m.conv(x), {"g": nn.Parameter(gains())}, ["Conv"]),
    "an offset after a layer": (lambda m, x: (3.0 - m.conv(x)).relu(), {}, ["Conv"]),
    "an offset after a clamp": (lambda m, x: m.conv(x).relu() - 1.0, {}, ["Conv", "Rescale"]),
    "a difference": (lambda m, x: m.conv(x) - m.other(x), {}, ["Conv", "Conv", "Add"]),
    "computed from a buffer": (lambda m, x: m.conv(x) * m.b.sin().view(-1, 1, 1), {"b": torch.arange(4.0)}, ["Conv"]),
    "made in forward": (lambda m, x: m.conv(x) + torch.linspace(-1, 1, 4).view(4, 1, 1), {}, ["Conv"]),
    "positions": (lambda m, x: m.conv(x) + m.p, {"p": torch.randn(1, 4, 6, 6)}, ["Conv", "Constant", "Add"]),
    "by row": (lambda m, x: m.r * m.conv(x).relu(), {"r": nn.Parameter(torch.rand(6, 1))},
               ["Conv", "Constant", "Multiply"]),
    "from a constant": (lambda m, x: torch.arange(6.0) - m.conv(x), {}, ["Conv", "Constant", "Add"]),
    "a token for every sample": (lambda m, x: torch.cat([m.t.expand(x.shape[0], -1, -1, -1), m.conv(x)], 2)[:, :, :6],
                                 {"t": nn.Parameter(torch.randn(1, 4, 1, 6))},
                                 ["Conv", "Constant", "Rescale", "Rescale", "Concat", "Slice"]),
    "weight norm": (lambda m, x: m.c(x), {"c": nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))}, ["Conv"]),
    "without gradient": (without_gradient, {}, ["Conv", "Rescale"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_constants(name: str) -> None:
    forward, held, kinds = CASES[name]
    torch.manual_seed(3)
    model = Model(forward, **held).eval()
    net, x = ready(model, SHAPE, widths=(2, 5, 8))
    program = dqt.lower(net)
    assert [type(op).__name__ for op in program.ops] == ["Quantize", *kinds, "Reshape", "Linear", "Dequantize"]
    run = dqt.Runtime(program, threads=1)
    for plan in (2, 5, 8):
        expected = dqt.interpret(program, x, plan)
        np.testing.assert_array_equal(net(x, plan, exact=True).numpy(), expected)
        np.testing.assert_array_equal(run(x.numpy(), plan), expected)
    with torch.no_grad():
        want = model(x)
    assert float((torch.from_numpy(dqt.interpret(program, x, 8)) - want).norm() / want.norm()) < 0.05


@pytest.mark.parametrize(("trained", "name"), [(True, "g.gain"), (False, "g.gain")])
def test_what_the_model_trains_the_network_trains(trained: bool, name: str) -> None:
    model = Model(lambda m, x: m.g * m.conv(x), g=nn.Parameter(gains(), requires_grad=trained))
    net, x = ready(model, SHAPE, widths=(2, 8))
    before = net.state_dict()[name].clone()
    torch.testing.assert_close(before.view(-1), gains().view(-1))
    net.train()(x, 2).square().sum().backward()
    assert (name in dict(net.named_parameters())) == trained
    if trained:
        gradient = net.get_submodule("g").gain.grad
        assert isinstance(gradient, Tensor)
        assert bool(gradient.abs().min() > 0)


def test_a_weight_that_is_computed_trains_under_its_own_name() -> None:
    net, _ = ready(Model(lambda m, x: m.c(x), c=nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))), SHAPE)
    assert net.layers == ("c", "head")
    assert dict(net.named_parameters())["c.weight"].requires_grad


@pytest.mark.parametrize(
    ("forward", "held", "said"),
    [
        (lambda m, x: m.conv(x) / m.p, {"p": nn.Parameter(torch.rand(4, 6, 6))}, "a parameter that the model trains"),
        (lambda m, x: m.conv(x) / 0.0, {}, "a divisor of 0"),
        (lambda m, x: m.conv(x).long().float(), {}, "casts to torch.int64"),
    ],
)
def test_constants_that_cannot_be(forward: Callable[[Any, Tensor], Tensor], held: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        dqt.prepare(Model(forward, **held), torch.rand(2, *SHAPE))


def test_fold_scales() -> None:
    spec = ScaleSpec(torch.tensor([2.0]), torch.tensor([1.0, 3.0]))
    other = ScaleSpec(torch.tensor([1.0, -4.0]), torch.tensor([0.5]))
    nodes = (Node("affine", "a", (INPUT,), (2, 4), norm="a"), Node("affine", "b", ("a",), (2, 4), norm="b"))
    after = fold_scales(Graph(nodes, ("b",), {"a": spec, "b": other}))
    assert str(after) == "b = affine(input) norm=b\nreturn b"
    x = torch.randn(3, 2, 4)
    expected = Scale(other)(Scale(spec)(x, 8), 8)
    torch.testing.assert_close(Scale(after.scales["b"])(x, 8), expected)


@pytest.mark.parametrize("trained", [frozenset({"gain"}), frozenset()])
def test_scales_that_stay(trained: frozenset[str]) -> None:
    """What the model trains stays a parameter of its own; a value that others read stays, too."""
    spec = ScaleSpec(torch.ones(1), torch.zeros(1), trained)
    nodes = (Node("affine", "a", (INPUT,), (2, 4), norm="a"), Node("affine", "b", ("a",), (2, 4), norm="b"))
    if not trained:
        nodes = (*nodes, Node("add", "c", ("a", "b"), (2, 4)))  # type: ignore[assignment]
    before = Graph(nodes, (nodes[-1].out,), {"a": spec, "b": spec})
    assert fold_scales(before) == before
