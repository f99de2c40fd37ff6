"""Networks of sequences, text, points and tables."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.networks.common import BATCH, Case, Maker, Written, block1d, conv, floats, image, mlp, tokens


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


def tabular() -> Case:
    layers = nn.BatchNorm1d(10), nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2)
    return Case(nn.Sequential(*layers), (floats(10),))


def tabular_embeddings() -> Case:
    def forward(m: Any, numbers: Tensor, kinds: Tensor) -> Tensor:
        embedded = [table(kinds[:, i]) for i, table in enumerate(m.tables)]
        return m.head(torch.cat([*embedded, m.norm(numbers)], 1))

    parts = {"tables": nn.ModuleList(nn.Embedding(7, 4) for _ in range(2)), "norm": nn.BatchNorm1d(5)}
    return Case(Written(forward, **parts, head=mlp(13, 16, 2)), (floats(5), tokens(2, 7)))


def resnet_mlp() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        for each in m.blocks:
            x = x + each(x)
        return m.head(x)

    blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(16), *mlp(16, 32, 16, act=nn.GELU)) for _ in range(2))
    return Case(Written(forward, stem=nn.Linear(10, 16), blocks=blocks, head=nn.Linear(16, 1)), (floats(10),))


def ft_transformer() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = x.unsqueeze(-1) * m.weight + m.bias
        y = torch.cat([m.token.expand(x.shape[0], -1, -1), y], 1)
        return m.head(m.body(y)[:, 0])

    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True, activation="gelu")
    scale = {"weight": nn.Parameter(torch.randn(10, 16)), "bias": nn.Parameter(torch.randn(10, 16))}
    body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return Case(
        Written(forward, **scale, token=nn.Parameter(torch.randn(1, 1, 16)), body=body, head=nn.Linear(16, 1)),
        (floats(10),),
    )


def dlrm() -> Case:
    def forward(m: Any, numbers: Tensor, kinds: Tensor) -> Tensor:
        dense = m.bottom(numbers)
        rows = torch.stack([dense, *(table(kinds[:, i]) for i, table in enumerate(m.tables))], 1)
        products = torch.bmm(rows, rows.transpose(1, 2))
        i, j = torch.tril_indices(3, 3, -1)
        return torch.sigmoid(m.top(torch.cat([dense, products[:, i, j]], 1)))

    parts = {
        "bottom": mlp(5, 16, 8),
        "tables": nn.ModuleList(nn.Embedding(9, 8) for _ in range(2)),
        "top": mlp(11, 8, 1),
    }
    return Case(Written(forward, **parts), (floats(5), tokens(2, 9)))


def two_towers() -> Case:
    def forward(m: Any, a: Tensor, b: Tensor) -> Tensor:
        return (F.normalize(m.left(a), dim=-1) * F.normalize(m.right(b), dim=-1)).sum(-1)

    return Case(Written(forward, left=mlp(10, 16, 8), right=mlp(6, 16, 8)), (floats(10), floats(6)))


def pointnet() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        x = m.body(x)
        return m.head(torch.max(x, 2)[0])

    body = nn.Sequential(block1d(3, 16, 1), block1d(16, 32, 1))
    return Case(Written(forward, body=body, head=mlp(32, 16, 5)), (floats(64, 3),))


def pointnet_transform() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        turn = m.turn(F.relu(m.small(x)).amax(2)).view(-1, 3, 3) + torch.eye(3)
        x = torch.bmm(x.transpose(2, 1), turn).transpose(2, 1)
        return m.head(m.body(x).amax(2))

    parts = {"small": nn.Conv1d(3, 8, 1), "turn": nn.Linear(8, 9), "body": block1d(3, 32, 1), "head": nn.Linear(32, 5)}
    return Case(Written(forward, **parts), (floats(3, 64),))


def deep_sets() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        n, k, _ = x.shape
        return m.rho(m.phi(x.reshape(n * k, -1)).view(n, k, -1).sum(1))

    return Case(Written(forward, phi=mlp(4, 16, 8), rho=mlp(8, 8, 2)), (floats(6, 4),))


def graph_conv() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = F.relu(m.first(m.adjacency @ x))
        return m.second(torch.einsum("ij,njc->nic", m.adjacency, x)).mean(1)

    adjacency = torch.softmax(torch.randn(7, 7), -1)
    return Case(Written(forward, first=nn.Linear(4, 8), second=nn.Linear(8, 3), adjacency=adjacency), (floats(7, 4),))


def attention_seq_first() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.embed(x).permute(1, 0, 2)
        x = m.norm(x + m.attention(x, x, x, need_weights=False)[0])
        return m.head(x[0])

    parts = {"embed": nn.Linear(6, 16), "attention": nn.MultiheadAttention(16, 4), "norm": nn.LayerNorm(16)}
    return Case(Written(forward, **parts, head=nn.Linear(16, 4)), (floats(9, 6),))


def attention_batch_first() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.embed(x)
        return m.head((x + m.attention(x, x, x)[0]).mean(1))

    parts = {"embed": nn.Linear(6, 16), "attention": nn.MultiheadAttention(16, 2, batch_first=True)}
    return Case(Written(forward, **parts, head=nn.Linear(16, 4)), (floats(9, 6),))


def transformer_encoder() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.body((m.embed(x) + m.position).transpose(0, 1))
        return m.head(y.mean(0))

    body = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 2, enable_nested_tensor=False)
    position = nn.Parameter(torch.randn(9, 16) * 0.1)
    return Case(
        Written(forward, embed=nn.Linear(6, 16), body=body, position=position, head=nn.Linear(16, 4)), (floats(9, 6),)
    )


def transformer_decoder() -> Case:
    def forward(m: Any, words: Tensor, memory: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(words.shape[1])
        return m.head(m.body(m.embed(words), memory, tgt_mask=mask))

    body = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 32, batch_first=True), 1)
    return Case(
        Written(forward, embed=nn.Embedding(20, 16), body=body, head=nn.Linear(16, 20)), (tokens(7, 20), floats(5, 16))
    )


class CausalAttention(nn.Module):
    """Attention as in minGPT: one product for queries, keys and values, a mask in a buffer."""

    def __init__(self, width: int, heads: int, length: int, *, fused: bool) -> None:
        super().__init__()
        self.qkv, self.out, self.heads, self.fused = nn.Linear(width, 3 * width), nn.Linear(width, width), heads, fused
        self.register_buffer("mask", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, T, C]`` -> the same."""
        n, t, c = x.shape
        parts = (each.view(n, t, self.heads, c // self.heads).transpose(1, 2) for each in self.qkv(x).split(c, dim=2))
        q, k, v = parts
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            scores = scores.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))  # type: ignore[index]
            y = F.softmax(scores, dim=-1) @ v
        return self.out(y.transpose(1, 2).contiguous().view(n, t, c))


def _gpt(*, fused: bool, tied: bool = False) -> Case:
    def forward(m: Any, words: Tensor) -> Tensor:
        x = m.words(words) + m.places(torch.arange(words.shape[1], device=words.device))
        for each in m.blocks:
            x = x + each["attention"](each["n1"](x))
            x = x + each["mlp"](each["n2"](x))
        return m.head(m.norm(x))

    def each() -> nn.ModuleDict:
        attention = CausalAttention(16, 2, 8, fused=fused)
        return nn.ModuleDict(
            {
                "attention": attention,
                "mlp": mlp(16, 64, 16, act=nn.GELU),
                "n1": nn.LayerNorm(16),
                "n2": nn.LayerNorm(16),
            }
        )

    head = nn.Linear(16, 40, bias=False)
    embedding = nn.Embedding(40, 16)
    if tied:
        head.weight = embedding.weight
    parts = {"words": embedding, "places": nn.Embedding(8, 16), "blocks": nn.ModuleList([each(), each()])}
    return Case(Written(forward, **parts, norm=nn.LayerNorm(16), head=head), (tokens(8, 40),))


def nano_gpt() -> Case:
    return _gpt(fused=False)


def nano_gpt_fused_tied() -> Case:
    return _gpt(fused=True, tied=True)


class Attention(nn.Module):
    """Attention as in timm, before it was fused: ``qkv.permute(2, 0, 3, 1, 4)``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, T, C]`` -> the same."""
        n, t, c = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attention = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((attention @ v).transpose(1, 2).reshape(n, t, c))


def vit() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([m.token.expand(x.shape[0], -1, -1), x], dim=1) + m.position
        x = x + m.attention(m.n1(x))
        x = x + m.mlp(m.n2(x))
        return m.head(m.norm(x)[:, 0])

    norms = {name: nn.LayerNorm(16) for name in ("n1", "n2", "norm")}
    held = {"token": nn.Parameter(torch.zeros(1, 1, 16)), "position": nn.Parameter(torch.randn(1, 17, 16) * 0.02)}
    parts = {"patch": nn.Conv2d(3, 16, 4, 4), "attention": Attention(16, 4), "mlp": mlp(16, 32, 16, act=nn.GELU)}
    return Case(Written(forward, **norms, **held, **parts, head=nn.Linear(16, 5)), (image(16),))


def window_attention() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.patch(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        windows = x.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        windows = m.attention(m.norm(windows))
        y = windows.view(n, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return m.head((x + y).mean((1, 2)))

    parts = {"patch": nn.Conv2d(3, 16, 2, 2), "norm": nn.LayerNorm(16), "attention": Attention(16, 4)}
    return Case(Written(forward, **parts, head=nn.Linear(16, 5)), (image(16),))


def mixer() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.patch(x).flatten(2).transpose(1, 2)
        x = x + m.spatial(m.n1(x).transpose(1, 2)).transpose(1, 2)
        x = x + m.channels(m.n2(x))
        return m.head(x.mean(1))

    parts = {"patch": nn.Conv2d(3, 16, 4, 4), "n1": nn.LayerNorm(16), "n2": nn.LayerNorm(16), "head": nn.Linear(16, 5)}
    return Case(Written(forward, **parts, spatial=mlp(16, 32, 16), channels=mlp(16, 32, 16)), (image(16),))


def nonlocal_block() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        n, c, h, w = x.shape
        q, k, v = (layer(x).view(n, -1, h * w) for layer in (m.q, m.k, m.v))
        y = torch.bmm(v, torch.softmax(torch.bmm(q.permute(0, 2, 1), k), -1).permute(0, 2, 1)).view(n, c, h, w)
        return m.head((m.gamma * y + x).mean((2, 3)))

    layers = {"q": conv(16, 4, 1), "k": conv(16, 4, 1), "v": conv(16, 16, 1), "stem": conv(3, 16, stride=4)}
    return Case(Written(forward, **layers, gamma=nn.Parameter(torch.ones(1)), head=nn.Linear(16, 5)), (image(),))


def axial_attention() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.patch(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        x = x + m.rows(x.reshape(n * h, w, c)).view(n, h, w, c)
        y = m.columns(x.transpose(1, 2).reshape(n * w, h, c)).view(n, w, h, c).transpose(1, 2)
        return m.head((x + y).mean((1, 2)))

    parts = {"patch": nn.Conv2d(3, 16, 4, 4), "rows": Attention(16, 2), "columns": Attention(16, 2)}
    return Case(Written(forward, **parts, head=nn.Linear(16, 5)), (image(16),))


def einsum_attention() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (2, 8)) for layer in (m.q, m.k, m.v))
        weights = torch.einsum("bihd,bjhd->bhij", q, k).div(8**0.5).softmax(-1)
        return m.out(torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2)).mean(1)

    return Case(Written(forward, **{n: nn.Linear(16, 16) for n in "qkv"}, out=nn.Linear(16, 4)), (floats(7, 16),))


def rotary_llama() -> Case:
    def forward(m: Any, words: Tensor) -> Tensor:
        x = m.embed(words)
        n, t, c = x.shape
        angles = torch.outer(torch.arange(t).float(), 1.0 / 10000 ** (torch.arange(0, 8, 2).float() / 8))
        cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()

        def turned(y: Tensor) -> Tensor:
            a, b = y.chunk(2, -1)
            return y * cos + torch.cat([-b, a], -1) * sin

        q = turned(m.q(m.norm(x)).view(n, t, 2, 8).transpose(1, 2))
        k = turned(m.k(m.norm(x)).view(n, t, 1, 8).transpose(1, 2)).repeat_interleave(2, 1)
        v = m.v(m.norm(x)).view(n, t, 1, 8).transpose(1, 2).repeat_interleave(2, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, c)
        return m.head(m.last(x + y) * F.silu(m.gate(y)))

    narrow = {n: nn.Linear(16, 8, bias=False) for n in "kv"}
    parts = {"embed": nn.Embedding(30, 16), "norm": nn.RMSNorm(16), "last": nn.RMSNorm(16), "q": nn.Linear(16, 16)}
    return Case(Written(forward, **narrow, **parts, gate=nn.Linear(16, 16), head=nn.Linear(16, 30)), (tokens(6, 30),))


def conformer() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = x + 0.5 * m.ff1(x)
        x = x + m.attention(m.n1(x), m.n1(x), m.n1(x), need_weights=False)[0]
        y = F.glu(m.point(m.n2(x).transpose(1, 2)), dim=1)
        x = x + m.back(F.silu(m.bn(m.depth(y)))).transpose(1, 2)
        return m.head(m.n3(x + 0.5 * m.ff2(x)))

    ff = {n: nn.Sequential(nn.LayerNorm(16), *mlp(16, 32, 16, act=nn.SiLU)) for n in ("ff1", "ff2")}
    norms = {n: nn.LayerNorm(16) for n in ("n1", "n2", "n3")}
    convs = {
        "point": nn.Conv1d(16, 32, 1),
        "depth": nn.Conv1d(16, 16, 5, padding=2, groups=16),
        "back": nn.Conv1d(16, 16, 1),
    }
    parts = {
        "attention": nn.MultiheadAttention(16, 2, batch_first=True),
        "bn": nn.BatchNorm1d(16),
        "head": nn.Linear(16, 8),
    }
    return Case(Written(forward, **ff, **norms, **convs, **parts), (floats(10, 16),))


def text_cnn() -> Case:
    def forward(m: Any, words: Tensor) -> Tensor:
        x = m.embed(words).transpose(1, 2)
        return m.head(torch.cat([F.relu(each(x)).max(2).values for each in m.convs], 1))

    convs = nn.ModuleList(nn.Conv1d(8, 6, k) for k in (3, 4, 5))
    return Case(Written(forward, embed=nn.Embedding(50, 8), convs=convs, head=nn.Linear(18, 2)), (tokens(12, 50),))


def embedding_bag() -> Case:
    def forward(m: Any, words: Tensor) -> Tensor:
        return m.head(m.bag(words))

    return Case(Written(forward, bag=nn.EmbeddingBag(50, 8, mode="mean"), head=nn.Linear(8, 2)), (tokens(12, 50),))


def mixture_of_experts() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        weights = m.gate(x).softmax(-1)
        return sum((each(x) * weights[:, i : i + 1] for i, each in enumerate(m.experts)), start=m.skip(x))

    experts = nn.ModuleList(mlp(8, 16, 4) for _ in range(3))
    return Case(Written(forward, gate=nn.Linear(8, 3), skip=nn.Linear(8, 4), experts=experts), (floats(8),))


def nerf() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = x[..., None] * m.bands
        y = torch.cat([x, torch.sin(y).flatten(1), torch.cos(y).flatten(1)], -1)
        h = m.body(y)
        return torch.cat([torch.sigmoid(m.color(h)), F.softplus(m.density(torch.cat([h, y], -1)))], -1)

    parts = {"body": mlp(27, 32, 32), "color": nn.Linear(32, 3), "density": nn.Linear(59, 1)}
    return Case(Written(forward, **parts, bands=2.0 ** torch.arange(4)), (floats(3),))


def tied_autoencoder() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = F.relu(m.layer(x))
        return F.linear(h, m.layer.weight.t(), m.bias)

    return Case(Written(forward, layer=nn.Linear(12, 6), bias=nn.Parameter(torch.zeros(12))), (floats(12),))


def tied_two_layers() -> Case:
    layer = nn.Linear(8, 8)
    return Case(
        nn.Sequential(nn.Linear(5, 8), nn.ReLU(), layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(8, 2)), (floats(5),)
    )


def streaming_attention_mask() -> Case:
    def forward(m: Any, x: Tensor, valid: Tensor) -> Tensor:
        scores = m.q(x) @ m.k(x).transpose(1, 2) / 4 + (1 - valid)[:, None] * -1e4
        return m.head(scores.softmax(-1) @ m.v(x))

    valid = (torch.arange(7) < torch.tensor([[7], [5], [3]])).float()
    return Case(
        Written(forward, **{n: nn.Linear(16, 16) for n in "qkv"}, head=nn.Linear(16, 4)), (floats(7, 16), valid)
    )


def scalar_output() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.body(x).squeeze(-1)

    return Case(Written(forward, body=mlp(6, 8, 1)), (floats(6),))


def positional_image() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        rows = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(n, 1, h, w)
        columns = torch.linspace(-1, 1, w).view(1, 1, 1, w).expand(n, 1, h, w)
        return m.body(torch.cat([x, rows, columns], 1)).amax((2, 3))

    return Case(Written(forward, body=nn.Sequential(conv(5, 8), nn.ReLU(), conv(8, 4))), (image(16),))


assert BATCH == 3
NETWORKS: tuple[Maker, ...] = (
    m5, tcn, wavenet, keyword_spotting, gru_voice, lstm_classifier, lstm_seq_first, lstm_bidirectional, lstm_cell,
    rnn_tanh,
    tabular, tabular_embeddings, resnet_mlp, ft_transformer, dlrm, two_towers, pointnet, pointnet_transform, deep_sets,
    graph_conv, attention_seq_first, attention_batch_first, transformer_encoder, transformer_decoder, nano_gpt,
    nano_gpt_fused_tied, vit, window_attention, mixer, nonlocal_block, axial_attention, einsum_attention, rotary_llama,
    conformer, text_cnn, embedding_bag, mixture_of_experts, nerf, tied_autoencoder, tied_two_layers,
    streaming_attention_mask, scalar_output, positional_image,
)  # fmt: skip
