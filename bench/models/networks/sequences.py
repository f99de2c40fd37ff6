"""Networks of sound, of time series and of their states."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.networks.common import Case, Maker, Written, block1d, conv, floats, tokens


def m5() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        return F.log_softmax(m.head(m.body(x).mean(-1)), dim=-1)

    first = block1d(1, 16, 80, stride=4, padding=0)
    body = nn.Sequential(first, nn.MaxPool1d(4), block1d(16, 16), nn.MaxPool1d(4), block1d(16, 32))
    return Case(Written(forward, body=body, head=nn.Linear(32, 10)), (floats(1, 2000),))


def tcn() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        for i, (a, b) in enumerate(zip(m.first, m.second, strict=True)):
            pad = (2 * 2**i, 0)
            y = F.relu(b(F.pad(F.relu(a(F.pad(x, pad))), pad)))
            x = F.relu(y + (m.skip(x) if i == 0 else x))
        return m.head(x[:, :, -1])

    first = nn.ModuleList(nn.Conv1d(4 if i == 0 else 8, 8, 3, dilation=2**i) for i in range(3))
    second = nn.ModuleList(nn.Conv1d(8, 8, 3, dilation=2**i) for i in range(3))
    return Case(
        Written(forward, first=first, second=second, skip=nn.Conv1d(4, 8, 1), head=nn.Linear(8, 3)), (floats(4, 40),)
    )


def wavenet() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x, skips = m.stem(x), torch.zeros(1)
        for filtered, gate, skip in zip(m.filters, m.gates, m.skips, strict=True):
            z = torch.tanh(filtered(x)) * torch.sigmoid(gate(x))
            skips = skips + skip(z)
            x = x[..., -z.shape[-1] :] + z if z.shape[-1] != x.shape[-1] else x + z
        return m.head(F.relu(skips))

    def layers() -> nn.ModuleList:
        return nn.ModuleList(nn.Conv1d(8, 8, 3, padding=2**i, dilation=2**i) for i in range(3))

    skips = nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(3))
    parts = {"stem": nn.Conv1d(1, 8, 1), "filters": layers(), "gates": layers(), "skips": skips}
    return Case(Written(forward, **parts, head=nn.Conv1d(8, 16, 1)), (floats(1, 64),))


def keyword_spotting() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.body(m.stem(x)).mean((2, 3)))

    def separable() -> nn.Sequential:
        depth, point = conv(16, 16, groups=16, bias=False), conv(16, 16, 1, bias=False)
        return nn.Sequential(depth, nn.BatchNorm2d(16), nn.ReLU(), point, nn.BatchNorm2d(16), nn.ReLU())

    stem = nn.Sequential(nn.Conv2d(1, 16, (10, 4), (2, 2), (5, 1)), nn.BatchNorm2d(16), nn.ReLU())
    body = nn.Sequential(separable(), separable())
    return Case(Written(forward, stem=stem, body=body, head=nn.Linear(16, 12)), (floats(1, 49, 10),))


def gru_voice() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        y, _ = m.gru(m.norm(m.front(x).transpose(1, 2)))
        return torch.sigmoid(m.head(y))

    parts = {"front": nn.Conv1d(8, 16, 3, padding=1), "norm": nn.LayerNorm(16), "gru": nn.GRU(16, 16, batch_first=True)}
    return Case(Written(forward, **parts, head=nn.Linear(16, 1)), (floats(8, 12),))


def lstm_classifier() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.lstm(x)[0][:, -1])

    return Case(Written(forward, lstm=nn.LSTM(6, 16, batch_first=True), head=nn.Linear(16, 4)), (floats(10, 6),))


def lstm_seq_first() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        y, (h, _) = m.lstm(x.transpose(0, 1))
        return m.head(torch.cat([y[-1], h[-1]], 1))

    return Case(Written(forward, lstm=nn.LSTM(6, 8, num_layers=2), head=nn.Linear(16, 4)), (floats(8, 6),))


def lstm_bidirectional() -> Case:
    def forward(m: Any, words: Tensor) -> Tensor:
        return m.head(m.lstm(m.embed(words))[0].mean(1))

    parts = {"embed": nn.Embedding(30, 8), "lstm": nn.LSTM(8, 8, batch_first=True, bidirectional=True)}
    return Case(Written(forward, **parts, head=nn.Linear(16, 4)), (tokens(8, 30),))


def lstm_cell() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], 8)
        for t in range(x.shape[1]):
            h, c = m.cell(x[:, t], (h, c))
        return m.head(h)

    return Case(Written(forward, cell=nn.LSTMCell(5, 8), head=nn.Linear(8, 3)), (floats(6, 5),))


def rnn_tanh() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.rnn(x)[1].squeeze(0))

    return Case(Written(forward, rnn=nn.RNN(5, 8, batch_first=True), head=nn.Linear(8, 3)), (floats(6, 5),))


NETWORKS: tuple[Maker, ...] = (
    m5, tcn, wavenet, keyword_spotting, gru_voice, lstm_classifier, lstm_seq_first, lstm_bidirectional, lstm_cell,
    rnn_tanh,
)  # fmt: skip
