"""Masks that a model writes before a softmax, and attention where others are counted beside the batch."""

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

SHAPE = (6, 8)
"""Six rows of eight numbers: two heads, or three windows of two rows."""
CAUSAL = torch.ones(6, 6, dtype=torch.bool).tril()
BETWEEN_WINDOWS = torch.zeros(3, 1, 2, 2)
BETWEEN_WINDOWS[1, :, 0, 1] = -100.0  # as Swin hides what a shift brought together
BLOCKED = torch.zeros(3, 1, 2, 2, dtype=torch.bool)
BLOCKED[2, :, 1, 0] = True


def heads(x: Tensor) -> list[Tensor]:
    return [part.transpose(1, 2) for part in x.reshape(*x.shape[:2], 3, 2, 4).unbind(2)]


def merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def written_out(change: Callable[[Tensor], Tensor], m: Any, x: Tensor) -> Tensor:
    q, k, v = heads(m.qkv(x))
    return merged(change(q @ k.mT / 2).softmax(-1) @ v)


def windows(mask: Tensor | None, m: Any, x: Tensor) -> Tensor:
    """Windows in the dimension of the batch, ``[3 N, 2, 8]``."""
    q, k, v = heads(m.qkv(x.reshape(-1, 2, 8)))
    if mask is not None:
        mask = mask.repeat(x.shape[0], 1, 1, 1)
    return merged(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)).reshape(x.shape)


def windows_written_out(m: Any, x: Tensor) -> Tensor:
    q, k, v = heads(m.qkv(x.reshape(-1, 2, 8)))
    scores = (q @ k.mT).view(-1, 3, 2, 2, 2) + BETWEEN_WINDOWS.unsqueeze(0)
    return merged(scores.view(-1, 2, 2, 2).softmax(-1) @ v).reshape(x.shape)


CASES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "filled": lambda m, x: written_out(lambda s: s.masked_fill(CAUSAL.logical_not(), -torch.inf), m, x),
    "chosen": lambda m, x: written_out(lambda s: torch.where(CAUSAL, s, -1e9), m, x),
    "added": lambda m, x: written_out(lambda s: s + torch.where(CAUSAL, 0.0, -10000.0), m, x),
    "added at the type's end": lambda m, x: written_out(
        lambda s: s + torch.where(CAUSAL, 0.0, torch.finfo(torch.float32).min), m, x
    ),
    "windows": lambda m, x: windows(None, m, x),
    "windows, one mask": lambda m, x: windows(BETWEEN_WINDOWS[1:2].expand(3, 1, 2, 2), m, x),
    "windows, a mask of each": lambda m, x: windows(BETWEEN_WINDOWS, m, x),
    "windows, what is seen": lambda m, x: windows(BLOCKED.logical_not(), m, x),
    "windows, written out": windows_written_out,
    "numbers filled in": lambda m, x: m.qkv(x).masked_fill(torch.arange(24) % 3 == 0, 0.75),
    "numbers chosen": lambda m, x: torch.where(torch.arange(8) % 3 == 0, m.fc(x), x),
    "a large constant elsewhere": lambda m, x: (m.fc(x) + torch.linspace(-60, -40, 6)[:, None]) / 60,
    "logarithms": lambda m, x: F.log_softmax(m.qkv(x), -1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_network_computes_what_the_model_does(name: str) -> None:
    torch.manual_seed(4)
    layers = {"qkv": nn.Linear(8, 24), "fc": nn.Linear(8, 8), "last": nn.LazyLinear(5)}
    model = Model(lambda m, x: m.last(CASES[name](m, x)), **layers).eval()
    with torch.no_grad():
        model(torch.randn(2, *SHAPE))
    net, x = ready(model, SHAPE, widths=(4, 8))
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-4)
    program = dqt.lower(net)
    for plan in (4, 8):
        np.testing.assert_array_equal(program(x, plan), net(x, plan, exact=True).numpy())
    error = float((net(x, 8, exact=True) - expected).norm() / expected.norm())
    assert error < 0.08


def test_one_token_of_each_sample() -> None:
    torch.manual_seed(2)
    tables = nn.ModuleList(nn.Embedding(5, 4) for _ in range(2))
    model = Model(
        lambda m, x: m.fc(torch.cat([table(x[:, i]) for i, table in enumerate(m.tables)], -1)),
        tables=tables, fc=nn.Linear(8, 3),
    ).eval()  # fmt: skip
    x = torch.randint(0, 5, (16, 2))
    net = dqt.prepare(model, x, dqt.Config(widths=(4, 8))).eval()
    dqt.calibrate(net, [x])
    program = dqt.lower(net)
    for plan in (4, 8):
        np.testing.assert_array_equal(dqt.interpret(program, x.numpy(), plan), net(x, plan, exact=True).numpy())
    with torch.no_grad():
        torch.testing.assert_close(net(x, 8, exact=True), model(x), rtol=0.05, atol=0.05)
