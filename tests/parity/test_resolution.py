"""Outputs that end in a sum have the precision of its operands, whatever follows: no 8 bits between sum and output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqt.lower.emit import lower
from dqt.nn.calibrate import calibrate
from dqt.nn.layers import Linear
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.run import Run
from dqt.program.interpret import interpret
from tests.nn.test_inputs import Around

Forward = Callable[[Any, Tensor], Any]


def unet(m: Any, x: Tensor) -> Tensor:
    first = m.a(x).relu()
    up = m.up(m.b(F.max_pool2d(first, 2)).relu())
    y: Tensor = m.out(torch.cat([first, up], 1)).permute(0, 2, 3, 1)
    return y


def conv(inputs: int = 3, outputs: int = 8, size: int = 3) -> nn.Module:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


def two_heads(m: Any, x: Tensor) -> dict[str, Tensor]:
    trunk = m.a(x).relu()
    return {"boxes": m.b(trunk).flatten(2), "scores": m.c(m.a2(trunk).relu()).permute(0, 2, 3, 1)}


NETWORKS: dict[str, tuple[Forward, dict[str, nn.Module], tuple[int, ...]]] = {
    "conv, flatten": (lambda m, x: m.b(m.a(x).relu()).flatten(1), {"a": conv(), "b": conv(8, 4)}, (3, 6, 6)),
    "linear, view": (
        lambda m, x: m.b(m.a(x).relu()).view(-1, 2, 3), {"a": nn.Linear(9, 16), "b": nn.Linear(16, 6)}, (9,),
    ),
    "conv1d": (lambda m, x: m.b(m.a(x).relu()), {"a": nn.Conv1d(3, 8, 3), "b": nn.Conv1d(8, 2, 1)}, (3, 12)),
    "two heads": (
        two_heads,
        {"a": conv(), "a2": conv(8, 8), "b": conv(8, 4, 1), "c": conv(8, 5, 1)}, (3, 6, 6),
    ),
    "U-Net": (
        unet,
        {"a": conv(), "b": conv(8, 8), "up": nn.ConvTranspose2d(8, 8, 2, 2), "out": conv(16, 4, 1)}, (3, 8, 8),
    ),
    "sum of two layers": (lambda m, x: m.a(x) + m.b(x), {"a": nn.Linear(9, 4), "b": nn.Linear(9, 4)}, (9,)),
    "residual": (lambda m, x: x - m.b(m.a(x).relu()), {"a": nn.Linear(9, 16), "b": nn.Linear(16, 9)}, (9,)),
    "average pool": (lambda m, x: F.avg_pool2d(m.b(m.a(x).relu()), 2), {"a": conv(), "b": conv(8, 4)}, (3, 6, 6)),
    "affine": (
        lambda m, x: m.n(m.b(m.a(x).relu())),
        {"a": nn.Linear(9, 16), "b": nn.Linear(16, 5), "n": nn.BatchNorm1d(4)}, (4, 9),
    ),
    "join": (
        lambda m, x: torch.cat([100 * m.a(x), m.b(x).sigmoid()], 1), {"a": nn.Linear(9, 4), "b": nn.Linear(9, 4)}, (9,),
    ),
    "relu": (lambda m, x: m.b(m.a(x).relu()).relu(), {"a": nn.Linear(9, 16), "b": nn.Linear(16, 4)}, (9,)),
    "maximum": (lambda m, x: F.max_pool2d(m.a(x), 2), {"a": conv()}, (3, 6, 6)),
}  # fmt: skip


def made(name: str) -> tuple[Net, nn.Module, Tensor]:
    function, modules, shape = NETWORKS[name]
    torch.manual_seed(0)
    model = Around(function, **modules).eval()
    x = torch.randn(64, *shape)
    return calibrate(prepare(model, x[:2]).eval(), [x], observer="max", correct_bias=False), model, x


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_not_narrowed(name: str) -> None:
    """They are what follows from the integers that the last sums read, to a hundred-thousandth of their range."""
    net, _, x = made(name)
    program = lower(net)
    for plan in (8, 3):
        exact = net.tensors(x, plan, exact=True)
        found = interpret(program, x, plan)
        with torch.no_grad():
            computed = net.tensors(x, plan)
        for output, y, real in zip(net.outputs, exact, computed, strict=True):
            np.testing.assert_array_equal(found[output.name] if isinstance(found, dict) else found, y.numpy())
            if name != "join":  # whose table gives codes
                assert float((y - real).abs().max()) < 1e-5 * float(real.abs().max()) + 1e-12, output


@pytest.mark.parametrize("name", ["conv, flatten", "linear, view", "conv1d", "two heads", "U-Net"])
def test_error_against_float_is_that_of_the_last_layer(name: str) -> None:
    """The difference from the float model is within one int8 step of each operand of the last layers' products.

    A code more of an activation or of a weight moves a sum of products by a root of sums of squares; steps of the
    output's range, which are far coarser here, do not come in.
    """
    net, model, x = made(name)
    run = Run(dict.fromkeys(net.layers, (8, 8)))
    signals, steps = net.read(x, run), {}
    for node in net.nodes:
        ins = [signals[value] for value in node.ins]
        if node.layer and node.quantizer == "int32":
            steps[node.layer] = _step(net, node.layer, ins[0].real(8).float(), ins[0].scale)
        signals[node.out] = net.fake_node(node, ins, run)
    with torch.no_grad():
        expected = model(x)
    outputs = list(expected.values()) if isinstance(expected, dict) else [expected]
    for y, real, step in zip(net.tensors(x, 8, exact=True), outputs, steps.values(), strict=True):
        error = (y - real).square().mean().sqrt()
        assert error.item() < step.item()


def _step(net: Net, name: str, x: Tensor, scale: Tensor) -> Tensor:
    """How far the layer's product moves where each of its operands moves by one code, root of the mean square."""
    layer = net.layer(name)
    moved = layer.apply_weight(torch.full_like(x, scale.item()) ** 2, layer.weight.detach() ** 2, None)
    shape = (-1,) if isinstance(layer, Linear) else (-1, *(1,) * (x.dim() - 2))
    codes = layer.apply_weight(x**2, torch.ones_like(layer.weight), None) * (layer.scale().detach() ** 2).reshape(shape)
    return (moved + codes).mean().sqrt()
