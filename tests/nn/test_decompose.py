"""Operators that are others put together, and recurrent layers, which are written out step after step."""

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

SHAPE = (3, 4)


def by_cell(m: Any, x: Tensor) -> Tensor:
    h = c = torch.zeros(x.shape[0], 6)
    for t in range(2):
        h, c = m.cell(x[:, t], (h, c))
    return h


def grid(m: Any, x: Tensor) -> Tensor:
    """Places in an image, ``[N, 2, 3, 2]``."""
    return m.fc2(x).flatten(1).view(-1, 2, 3, 2)


CASES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "lstm": lambda m, x: m.lstm(x)[0],
    "lstm, its last state": lambda m, x: m.lstm(x[:, :2])[1][1][-1],
    "lstm of two layers": lambda m, x: m.deep(x[:, :2])[0][:, -1],
    "lstm in both directions": lambda m, x: m.both(x[:, :2])[0],
    "lstm, time first": lambda m, x: m.first(x[:, :2].transpose(0, 1))[0][-1],
    "lstm without biases": lambda m, x: m.bare(x[:, :2])[1][0][0],
    "lstm cell": by_cell,
    "gru": lambda m, x: m.gru(x)[0],
    "gru from a state": lambda m, x: m.gru(x[:, :2], F.relu(x[:, :1, :1]).expand(-1, 1, 6).transpose(0, 1))[1][0],
    "gru cell": lambda m, x: m.gru_cell(x[:, 1], m.gru_cell(x[:, 0])),
    "rnn": lambda m, x: m.rnn(x)[0],
    "rnn of relu": lambda m, x: m.relu(x[:, :2])[1][0],
    "rnn cell": lambda m, x: m.rnn_cell(x[:, 0], m.rnn_cell(x[:, 1])),
    "addcmul": lambda m, x: torch.addcmul(m.fc(x), x, m.fc2(x), value=0.5),
    "lerp": lambda m, x: torch.lerp(m.fc(x), x, 0.25),
    "columns": lambda m, x: torch.column_stack([m.fc(x)[:, 0], x[:, 1]]),
    "bicubic": lambda m, x: F.interpolate(m.fc(x)[:, None], size=(5, 3), mode="bicubic", align_corners=True),
    "bicubic by factors": lambda m, x: F.interpolate(m.fc(x)[:, None], scale_factor=(2.0, 0.75), mode="bicubic"),
    "smaller without aliases": lambda m, x: F.interpolate(m.fc(x)[:, None], (2, 3), mode="bilinear", antialias=True),
    "bounds": lambda m, x: torch.clamp(m.fc(x), torch.tensor(-0.2), torch.linspace(0.1, 0.5, 4)),
    "bounds from below": lambda m, x: torch.clamp_min(m.fc(x), torch.linspace(-0.1, 0.5, 4)),
    "bounds from above": lambda m, x: torch.clamp_max(m.fc(x), torch.tensor(0.2)),
    "places in an image": lambda m, x: F.grid_sample(m.fc(x)[:, None], grid(m, x), align_corners=False),
    "places up to its border": lambda m, x: F.grid_sample(
        m.fc(x)[:, None], 2 * grid(m, x), padding_mode="border", align_corners=True
    ),
    "an image turned": lambda m, x: F.grid_sample(
        m.fc(x)[:, None],
        F.affine_grid(m.fc2(x)[:, 0, :].repeat(1, 2)[:, :6].view(-1, 2, 3), [x.shape[0], 1, 3, 4], align_corners=False),
        align_corners=False,
    ),
    "variance": lambda m, x: m.fc(x).var(-1, correction=0),
}


def model_of(call: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(1)
    recurrent = {
        "lstm": nn.LSTM(4, 6, batch_first=True), "deep": nn.LSTM(4, 6, 2, batch_first=True, dropout=0.1),
        "both": nn.LSTM(4, 3, batch_first=True, bidirectional=True), "first": nn.LSTM(4, 6),
        "bare": nn.LSTM(4, 6, bias=False, batch_first=True), "gru": nn.GRU(4, 6, batch_first=True),
        "rnn": nn.RNN(4, 6, batch_first=True), "relu": nn.RNN(4, 6, nonlinearity="relu", batch_first=True),
    }  # fmt: skip
    cells = {"cell": nn.LSTMCell(4, 6), "gru_cell": nn.GRUCell(4, 6), "rnn_cell": nn.RNNCell(4, 6)}
    own = Model(
        lambda m, x: m.head(call(m, x).flatten(1)), fc=nn.Linear(4, 4), fc2=nn.Linear(4, 4), head=nn.LazyLinear(3)
    )
    for name, module in (recurrent | cells).items():
        if name in call.__code__.co_names:  # only what the case reads is copied and exported with it
            own.add_module(name, module)
    own.eval()
    with torch.no_grad():
        own(torch.randn(2, *SHAPE))
    return own


@pytest.mark.parametrize("name", CASES)
def test_the_network_computes_what_the_model_does(name: str) -> None:
    model = model_of(CASES[name])
    net, x = ready(model, SHAPE, widths=(2, 8))
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = dqt.lower(net)
    for plan in (2, 8):
        np.testing.assert_array_equal(program(x, plan), net(x, plan, exact=True).numpy())
    assert float((net(x, 8, exact=True) - expected).norm() / expected.norm()) < 0.03


def test_steps_of_a_recurrent_layer_have_one_weight() -> None:
    net, _ = ready(model_of(CASES["lstm"]), SHAPE)
    assert net.layers == (
        "lstm.weight_ih_l0", "lstm.weight_hh_l0", *(f"lstm.weight_hh_l0_{i}" for i in range(1, 3)), "head",
    )  # fmt: skip
    weights = {id(net.layer(name).weight) for name in net.layers if "hh" in name}
    assert len(weights) == 1


def test_what_cannot_be_taken_apart_is_named_whole() -> None:
    with pytest.raises(dqt.UnsupportedError, match=r"^aten\.cdist\.default in the model's forward is not"):
        dqt.prepare(Model(lambda m, x: torch.cdist(m.fc(x), x), fc=nn.Linear(4, 4)), torch.randn(2, *SHAPE))
