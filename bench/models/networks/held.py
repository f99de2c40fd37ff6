"""Networks that nobody runs while the library is worked on: how many go through at the first try shows the coverage."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.networks.common import Case, Maker, Written, block, conv, floats, image, mlp, tokens


def detr() -> Case:
    def forward(m: Any, x: Tensor) -> dict[str, Tensor]:
        memory = m.project(m.body(x)).flatten(2).permute(2, 0, 1) + m.position.unsqueeze(1)
        y = m.transformer(memory, m.queries.unsqueeze(1).repeat(1, x.shape[0], 1)).transpose(0, 1)
        return {"logits": m.classes(y), "boxes": m.boxes(y).sigmoid()}

    held = {"position": nn.Parameter(torch.rand(16, 16)), "queries": nn.Parameter(torch.rand(5, 16))}
    parts = {"body": nn.Sequential(block(3, 8, stride=2), block(8, 32, stride=4)), "project": conv(32, 16, 1)}
    heads = {"classes": nn.Linear(16, 4), "boxes": mlp(16, 16, 4)}
    transformer = nn.Transformer(16, 2, 1, 1, 32)
    return Case(Written(forward, **held, **parts, **heads, transformer=transformer), (image(),))


def conv_lstm() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = c = torch.zeros(x.shape[0], 8, *x.shape[3:])
        for t in range(x.shape[1]):
            i, f, o, g = torch.chunk(m.gates(torch.cat([x[:, t], h], 1)), 4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return m.head(h)

    frames = torch.stack([image(16, 1), image(16, 1).flip(2), image(16, 1).flip(3)], 1)
    return Case(Written(forward, gates=conv(9, 32), head=conv(8, 1, 1)), (frames,))


def hourglass() -> Case:
    def forward(m: Any, x: Tensor) -> list[Tensor]:
        x, found = m.stem(x), []
        for down, up, out, back in zip(m.down, m.up, m.out, m.back, strict=True):
            y = x + F.interpolate(up(F.relu(down(F.max_pool2d(x, 2)))), scale_factor=2, mode="nearest")
            found.append(out(y))
            x = y + back(found[-1])
        return found

    parts = {"down": (8, 8, 3), "up": (8, 8, 3), "out": (8, 4, 1), "back": (4, 8, 1)}
    layers = {name: nn.ModuleList(conv(*sizes) for _ in range(2)) for name, sizes in parts.items()}
    return Case(Written(forward, stem=block(3, 8, stride=2), **layers), (image(),))


def alibi_encoder() -> Case:
    def forward(m: Any, words: Tensor) -> Tensor:
        x = m.embed(words)
        n, t, c = x.shape
        q, k, v = m.qkv(m.norm(x)).view(n, t, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        distance = (torch.arange(t)[:, None] - torch.arange(t)[None, :]).abs()
        bias = -distance[None] * torch.tensor([0.5, 0.25])[:, None, None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + m.out(y.transpose(1, 2).flatten(2))
        return m.head(F.normalize(x.mean(1), p=2, dim=1))

    parts = {
        "embed": nn.Embedding(40, 16),
        "norm": nn.LayerNorm(16),
        "qkv": nn.Linear(16, 48),
        "out": nn.Linear(16, 16),
    }
    return Case(Written(forward, **parts, head=nn.Linear(16, 3)), (tokens(7, 40),))


def gated_residual_table() -> Case:
    def forward(m: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = F.elu(m.first(torch.cat([x, y], -1)))
        h = m.norm(m.skip(x) + F.glu(m.gate(m.second(h)), -1))
        return m.mean(h).squeeze(-1), F.softplus(m.spread(h)).squeeze(-1)

    layers = {
        "first": (9, 12),
        "second": (12, 12),
        "gate": (12, 24),
        "skip": (5, 12),
        "mean": (12, 1),
        "spread": (12, 1),
    }
    parts = {name: nn.Linear(*sizes) for name, sizes in layers.items()}
    return Case(Written(forward, **parts, norm=nn.LayerNorm(12)), (floats(5), floats(4)))


NETWORKS: tuple[Maker, ...] = (detr, conv_lstm, hourglass, alibi_encoder, gated_residual_table)
