"""Tensors that a model changes in place, whole and in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dqt
from dqt.nn.run import Run
from dqt.testing.networks import Model, ready

SHAPE = (4, 6, 5)


def first_row(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y[:, :, 0] = m.b(x)[:, :, 1]
    return y


def shifted(m: Any, x: Tensor) -> Tensor:
    y, out = m.a(x), torch.zeros_like(x)
    out[:, :1, 1:] = y[:, :1, :-1]
    out[:, 1:2, :-1] = y[:, 1:2, 1:]
    out[:, 2:] = y[:, 2:]
    return out


def every_other(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y[..., ::2].relu_()
    return y + x


def a_box(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y[:, 1:3, 2:4, 1:3] = y[:, :1, :2, :2]
    return y


def a_number(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y[:, 2] = 0.5
    y[:, 0, 1].zero_().add_(1)
    return y


def turned(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y.permute(2, 0, 1, 3)[3] = m.b(x)[:, :, 0] * 2
    return y


def one_chunk(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y[:, :2].mul_(0.5)
    return y + torch.cat(y.chunk(2, 1)[::-1], 1)


def a_buffer_of_frames(m: Any, x: Tensor) -> Tensor:
    out = x.new_empty(x.shape[0], 4, 2, 6, 5)
    out[:, :, 0] = m.a(x)
    out[:, :, 1] = m.b(x)
    return out.amax(2)


def whole(m: Any, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y[:] = m.a(x)
    y[...].add_(x)
    return y


def overlapping(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    left, middle = y[..., :3], y[..., 1:4]
    left.relu_()
    return F.pad(left, (0, 2)) + F.pad(middle, (0, 2))


def copies(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    turned = y.permute(0, 2, 1, 3)
    turned.reshape(-1, 6, 20).relu_()  # of a copy
    turned.contiguous().mul_(2)
    turned.contiguous().view(-1, 6, 20)[:, 0] = 1
    y.reshape(-1, 4, 30)[:, 1] = 1  # of the memory itself
    return y + turned.transpose(1, 2)


CASES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a row": first_row,
    "shifted channels": shifted,
    "every other column": every_other,
    "a box": a_box,
    "a number": a_number,
    "a view that is turned": turned,
    "one chunk": one_chunk,
    "frames of a buffer": a_buffer_of_frames,
    "all of it": whole,
    "views of one another": overlapping,
    "copies and views": copies,
}


@pytest.mark.parametrize("name", CASES)
def test_the_network_computes_what_the_model_does(name: str) -> None:
    torch.manual_seed(3)
    layers = {"a": nn.Conv2d(4, 4, 3, padding=1), "b": nn.Conv2d(4, 4, 1), "fc": nn.LazyLinear(3)}
    model = Model(lambda m, x: m.fc(CASES[name](m, x).flatten(1)), **layers).eval()
    with torch.no_grad():
        model(torch.randn(2, *SHAPE))
    net, x = ready(model, SHAPE, widths=(2, 8))
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = dqt.lower(net)
    for plan in (2, 8):
        np.testing.assert_array_equal(program(x, plan), net(x, plan, exact=True).numpy())
