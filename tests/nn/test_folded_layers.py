"""Transposed and 3-d convolutions, which are 2-d convolutions in a program: exact at all widths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dqt.arith.plan import Plan
from dqt.lower.emit import lower
from dqt.nn.run import Run
from dqt.program.ops.conv import Conv
from dqt.runtime import Runtime
from dqt.testing.networks import ready, unsettle
from tests.nn.test_agreement import RARE, apart

T1, T2 = nn.ConvTranspose1d, nn.ConvTranspose2d
UP = {
    "kernel 2": T2(4, 6, 2, 2),
    "kernel 4": T2(4, 6, 4, 2, 1),
    "kernel 4, all of it": T2(4, 6, 4, 2),
    "kernel 3": T2(4, 6, 3, 2, 1, 1),
    "no stride": T2(4, 6, 3, 1, 2),
    "dilated": T2(4, 6, (3, 2), (2, 3), (2, 1), (1, 2), dilation=(2, 3)),
    "stride beyond the kernel": T2(4, 6, 1, 3, 0, 2),
    "two strides": T2(4, 6, (4, 3), (2, 3), (1, 0)),
    "groups": T2(4, 6, 4, 2, 1, groups=2),
    "depthwise": T2(4, 4, 4, 2, 1, groups=4),
    "depthwise, odd": T2(4, 4, 3, 2, 1, 1, groups=4),
    "much padding": T2(4, 6, 4, 2, 3),
    "more padding than taps": T2(4, 6, 3, 2, 3),
}
LINES = {"1-d": T1(4, 6, 8, 4, 2), "1-d, odd": T1(4, 6, 5, 2, 1, 1), "1-d, groups": T1(4, 4, 4, 2, groups=4)}
DEEP = {
    "cube": nn.Conv3d(4, 6, 3, padding=1),
    "stride": nn.Conv3d(4, 6, (2, 3, 4), (2, 1, 3), (1, 0, 2)),
    "dilated": nn.Conv3d(4, 6, 2, dilation=(1, 3, 2)),
    "frames alone": nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0)),
    "images alone": nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1)),
    "point": nn.Conv3d(4, 6, 1),
    "depthwise": nn.Conv3d(4, 4, 3, padding=1, groups=4),
    "depthwise rows": nn.Conv3d(4, 8, (1, 1, 3), groups=4),
    "same": nn.Conv3d(4, 6, (1, 3, 5), padding="same"),
}
LAYERS = {**UP, **LINES, **DEEP}
SHAPES = {"1-d": (4, 9), "3-d": (4, 5, 6, 7), "2-d": (4, 5, 6)}
OUTPUTS = {nn.ConvTranspose1d: nn.BatchNorm1d, nn.ConvTranspose2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d}
FIRST = {nn.ConvTranspose1d: nn.Conv1d, nn.ConvTranspose2d: nn.Conv2d, nn.Conv3d: nn.Conv3d}


def around(name: str, *, last: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """A layer before it, and a norm and ReLU after it, which it takes over; or it is the ``last``, of int32 outputs."""
    torch.manual_seed(3)
    layer = LAYERS[name]
    kind = type(layer)
    layer.reset_parameters()
    shape = SHAPES["1-d" if name in LINES else "3-d" if name in DEEP else "2-d"]
    parts: list[nn.Module] = [FIRST[kind](4, 4, 1), nn.ReLU(), layer]
    if not last:
        parts += [OUTPUTS[kind](layer.out_channels), nn.ReLU(), FIRST[kind](layer.out_channels, 3, 1)]
    model = nn.Sequential(*parts)
    unsettle(model)
    return model.eval(), shape


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, last: bool) -> None:
    model, shape = around(name, last=last)
    net, x = ready(model, shape, widths=(2, 3, 8))
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = lower(net)
    assert sum(isinstance(op, Conv) for op in program.ops) == len(program.layers)
    run = Runtime(program, threads=1)
    mixed = Plan.of({layer: ((2, 8), (8, 3), (3, 2))[i % 3] for i, layer in enumerate(program.layers)})
    for plan in (8, 3, 2, mixed):
        served = program(x, plan)
        np.testing.assert_array_equal(served, net(x, plan, exact=True).numpy())
        np.testing.assert_array_equal(served, run(x.numpy(), plan))
    error = float((net(x, 8, exact=True) - expected).norm() / expected.norm())
    assert error < 0.07
    differ, total = (sum(values) for values in zip(*(apart(net, x, b) for b in (2, 8)), strict=True))
    assert differ <= max(1, RARE * total)


def test_products_that_are_counted() -> None:
    """A kernel of 4 with a stride of 2 has four products for each output pixel and channel, and not 16."""
    net, _ = ready(*around("kernel 4", last=True))
    assert net.space.layers[1].macs == 6 * 4 * (5 + 1) * (6 + 1) * 4 * 4  # phases: one row and column more than inputs
    net, _ = ready(*around("kernel 2", last=True))
    assert net.space.layers[1].macs == 6 * (5 * 2) * (6 * 2) * 4
    net, _ = ready(*around("cube", last=True))
    assert net.space.layers[1].macs == 6 * 5 * 6 * 7 * 4 * 27


def test_training_moves_their_weights() -> None:
    for name in ("kernel 4", "kernel 3", "cube"):
        net, x = ready(*around(name, last=False))
        net.train()
        net(x, 3).square().sum().backward()
        layer = net.get_submodule("2")
        assert isinstance(layer.weight, torch.Tensor)
        assert layer.weight.grad is not None
        assert float(layer.weight.grad.abs().sum()) > 0
