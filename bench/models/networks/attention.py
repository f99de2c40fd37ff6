"""Networks of text and of patches: attention as people write it."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.networks.common import Case, Maker, Written, conv, floats, image, mlp, tokens


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


def streaming_attention_mask() -> Case:
    def forward(m: Any, x: Tensor, valid: Tensor) -> Tensor:
        scores = m.q(x) @ m.k(x).transpose(1, 2) / 4 + (1 - valid)[:, None] * -1e4
        return m.head(scores.softmax(-1) @ m.v(x))

    valid = (torch.arange(7) < torch.tensor([[7], [5], [3]])).float()
    return Case(
        Written(forward, **{n: nn.Linear(16, 16) for n in "qkv"}, head=nn.Linear(16, 4)), (floats(7, 16), valid)
    )


def positional_image() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        rows = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(n, 1, h, w)
        columns = torch.linspace(-1, 1, w).view(1, 1, 1, w).expand(n, 1, h, w)
        return m.body(torch.cat([x, rows, columns], 1)).amax((2, 3))

    return Case(Written(forward, body=nn.Sequential(conv(5, 8), nn.ReLU(), conv(8, 4))), (image(16),))


def diffusion() -> Case:
    """A step of a diffusion model: noisy images, and for each the time as one integer and a class."""

    def forward(m: Any, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        angles = time.float()[:, None] * torch.exp(-0.5 * torch.arange(8))[None]
        seen = m.time(torch.cat([angles.sin(), angles.cos()], 1)) + m.label(label)
        x = m.stem(x)
        x = x + m.block(x) + seen[:, :, None, None]
        y = m.down(x)
        tokens = m.norm(y).flatten(2).transpose(1, 2)
        y = y + m.attention(tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2).reshape(y.shape)
        return m.out(torch.cat([x, F.interpolate(y, scale_factor=2)], 1))

    parts = {"time": mlp(16, 32, 8, act=nn.SiLU), "label": nn.Embedding(10, 8), "stem": conv(3, 8)}
    parts |= {"block": nn.Sequential(nn.GroupNorm(4, 8), nn.SiLU(), conv(8, 8)), "norm": nn.GroupNorm(4, 8)}
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    case = Written(forward, **parts, attention=attention, down=conv(8, 8, stride=2), out=conv(16, 3))
    return Case(case, (image(16), tokens(1, 1000)[:, 0], tokens(1, 10)[:, 0]))


NETWORKS: tuple[Maker, ...] = (
    ft_transformer, attention_seq_first, attention_batch_first, transformer_encoder, transformer_decoder, nano_gpt,
    nano_gpt_fused_tied, vit, window_attention, mixer, nonlocal_block, axial_attention, einsum_attention, rotary_llama,
    conformer, text_cnn, streaming_attention_mask, positional_image, diffusion,
)  # fmt: skip
