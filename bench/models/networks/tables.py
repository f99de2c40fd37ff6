"""Networks of tables, of sets of points, and small ones of layers alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.networks.common import Case, Maker, Written, block1d, floats, mlp, tokens


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


def scalar_output() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.body(x).squeeze(-1)

    return Case(Written(forward, body=mlp(6, 8, 1)), (floats(6),))


NETWORKS: tuple[Maker, ...] = (
    tabular, tabular_embeddings, resnet_mlp, dlrm, two_towers, pointnet, pointnet_transform, deep_sets, graph_conv,
    embedding_bag, mixture_of_experts, nerf, tied_autoencoder, tied_two_layers, scalar_output,
)  # fmt: skip
