"""The batch moved aside, and counted with other dimensions: the network computes what the model does, in few moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dqt
from dqt.nn.placement import Placement
from dqt.nn.run import Run
from dqt.testing.networks import ready

SIZES = (4, 5, 6, 3)
PLACES = (Placement(), Placement(1), Placement(3), Placement(0, 2, 3), Placement(2, 3, 1), Placement(1, 1, 2))


def tensor(placed: Placement, samples: int = 7) -> Tensor:
    sizes = list(SIZES)
    sizes[placed.dim] = placed.before * samples * placed.after
    return torch.arange(float(np.prod(sizes))).reshape(sizes)


@pytest.mark.parametrize("placed", PLACES)
def test_a_tensor_is_its_value_and_back(placed: Placement) -> None:
    x, one = tensor(placed), tuple(tensor(placed, 1).shape)
    value = placed.inner(x)
    assert value.shape == (7, *placed.shape(one))
    torch.testing.assert_close(placed.outer(value, x.dim()), x, rtol=0, atol=0)
    for dim, length in enumerate(one):
        axis = placed.axis(dim)
        assert (axis is None) == (dim == placed.dim)
        assert axis is None or value.shape[1 + axis] == length


@pytest.mark.parametrize("placed", PLACES)
def test_permuted(placed: Placement) -> None:
    x = tensor(placed)
    for order in itertools.permutations(range(4)):
        there, axes = placed.permuted(order)
        expected = placed.inner(x).permute(0, *(1 + axis for axis in axes))
        torch.testing.assert_close(there.inner(x.permute(order)), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("placed", "old", "new", "dim", "expected"),
    [
        (Placement(), (1, 4, 6), (4, 6), 0, Placement(0, 1, 4)),  # [N, T, C] -> [N * T, C]
        (Placement(0, 1, 4), (4, 6), (1, 4, 6), 0, Placement()),
        (Placement(0, 1, 4), (4, 6), (2, 2, 6), 0, Placement(0, 1, 2)),  # windows of windows
        (Placement(1), (4, 1, 6), (4, 2, 3), 1, Placement(1, 1, 2)),  # [T, N, C] -> [T, N * heads, C / heads]
        (Placement(1), (4, 1, 6), (4, 6), 0, Placement(0, 4, 1)),
        (Placement(0, 4, 1), (4, 6), (2, 2, 6), 1, Placement(1, 2, 1)),
        (Placement(1), (4, 1, 6), (1, 4, 6), 0, None),  # would mix samples
        (Placement(0, 1, 4), (4, 6), (4, 1, 6), 1, None),
    ],
)
def test_reshaped(placed: Placement, old: Any, new: Any, dim: int, expected: Placement | None) -> None:
    assert placed.reshaped(old, new, dim) == expected


class Heads(nn.Module):
    """Embeds a sequence ``[N, 6, 4]``, computes with the batch elsewhere, and looks at the whole."""

    def __init__(self, call: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.embed, self.mix, self.small = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(4, 4)
        self.head, self.norm, self.conv = nn.LazyLinear(3), nn.BatchNorm1d(6), nn.Conv1d(6, 6, 3, padding=1)
        self.token, self.mask = nn.Parameter(torch.randn(1, 1, 8)), nn.Buffer(torch.rand(3, 2, 8))
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.call(self, self.embed(x)).flatten(1))
        return result


def windows(m: Any, y: Tensor) -> Tensor:
    n = y.shape[0]
    parts = y.view(n, 3, 2, 8).reshape(-1, 2, 8)  # [3 N, 2, 8]
    parts = F.gelu(m.mix(parts)) * 0.5 + parts
    parts = parts.view(n, 3, 2, 8) * m.mask
    result: Tensor = parts.view(n, 6, 8)
    return result


def masked_windows(m: Any, y: Tensor) -> Tensor:
    parts = y.reshape(-1, 2, 8)
    result: Tensor = (parts + m.mask.repeat(y.shape[0], 1, 1)).view(-1, 6, 8)
    return result


def heads(m: Any, y: Tensor) -> Tensor:
    t, n, _ = y.transpose(0, 1).shape
    q = m.mix(y.transpose(0, 1)).contiguous().view(t, n * 2, 4).transpose(0, 1)  # [N * heads, T, 4]
    result: Tensor = m.small(q).transpose(0, 1).reshape(t, n, 8).transpose(0, 1)
    return result


def qkv(m: Any, y: Tensor) -> Tensor:
    q, k, v = m.mix(y).reshape(y.shape[0], 6, 2, 2, 2).permute(2, 0, 3, 1, 4)[0], y[:, :, :4], y[:, :, 4:]
    return torch.cat([q.transpose(1, 2).reshape(y.shape[0], 6, 4), k + v], -1)


def by_matrices(m: Any, y: Tensor) -> Tensor:
    """Constants with a matrix for each of several places, with the batch among the rows and ahead of them."""
    n = y.shape[0]
    rows = m.mix(y).transpose(0, 1).reshape(6, n * 2, 4)  # [T, N * heads, 4]
    turned = (rows @ torch.sin(torch.arange(96.0)).view(6, 4, 4)).view(6, n, 8).transpose(0, 1)
    merged = y.reshape(n * 3, 2, 2, 4) @ torch.cos(torch.arange(32.0)).view(2, 4, 4)  # [N * 3, 2, 2, 4]
    result: Tensor = turned + merged.reshape(n, 6, 8)
    return result


def by_time(_: Any, y: Tensor) -> Tensor:
    steps = [F.relu(step + y[:, 0]) for step in y.transpose(0, 1)]
    return torch.stack(steps[::2], 0).transpose(0, 1)


def twice(m: Any, y: Tensor) -> Tensor:
    both = m.mix(torch.cat([y, y * 0.5 - 0.1]))
    first, second = both[: y.shape[0]], both[y.shape[0] :]
    return first - F.relu(second) + both[: y.shape[0]] * 0.25


def first_state(m: Any, y: Tensor) -> Tensor:
    state = torch.zeros(y.shape[0], 8)
    for t in range(3):
        state = torch.tanh(y[:, t] + state)
    return m.mix(state)


class Films(nn.Module):
    """Images of several moments, ``[N, 3, 2, 9, 8]``, each on its own, then all together."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3, **options), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
        self.head, norm = nn.LazyLinear(5), self.body[1]
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        norm.running_mean.normal_(0, 0.3)
        nn.init.uniform_(norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        n, frames = x.shape[:2]
        y = self.body(x.flatten(0, 1))
        result: Tensor = self.head(y.view(n, frames, -1).flatten(1))
        return result


class Sounds(nn.Module):
    """The same with rows."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(2, 4, 3, 2, 1, bias=False), nn.BatchNorm1d(4), nn.SiLU(), nn.MaxPool1d(2))
        self.head = nn.LazyLinear(5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.body(x.reshape(-1, 2, 11)).view(x.shape[0], -1))
        return result


class Clips(nn.Module):
    """The same with images of several depths."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(2, 4, 3, **options), nn.BatchNorm3d(4), nn.ReLU(), nn.Conv3d(4, 3, 1))
        self.head = nn.LazyLinear(5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.body(x.flatten(0, 1)).view(x.shape[0], -1))
        return result


IMAGES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "a pyramid": (lambda: Films(stride=2, padding=(0, 1)), (3, 2, 9, 8)),
    "far apart": (lambda: Films(stride=(3, 1), padding=(2, 0), dilation=2), (3, 2, 9, 8)),
    "by channel": (lambda: Films(groups=2, padding=1, bias=False), (3, 2, 9, 8)),
    "small windows": (lambda: Films(stride=4), (2, 2, 10, 8)),
    "rows": (Sounds, (3, 2, 11)),
    "clips": (lambda: Clips(padding=(1, 0, 2), stride=(2, 1, 3)), (3, 2, 5, 4, 6)),
    "clips by channel": (lambda: Clips(groups=2, padding=1, dilation=(1, 2, 1)), (2, 2, 3, 4, 4)),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_that_are_counted_with_the_batch(name: str) -> None:
    """A norm and an activation between two convolutions are parts of the first one."""
    torch.manual_seed(6)
    make, shape = IMAGES[name]
    model: nn.Module = make().eval()
    with torch.no_grad():
        model(torch.randn(2, *shape))
    net, x = ready(model, shape, widths=(2, 5, 8))
    assert [node.kind for node in net.nodes][:2] == ["transpose", "conv3d" if "clips" in name else "frames"]
    assert sum(node.kind == "transpose" for node in net.nodes) == 2
    assert not [node for node in net.nodes if node.kind in ("affine", "relu")]
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = dqt.lower(net)
    run = dqt.Runtime(program, threads=1)
    for plan in (2, 5, 8):
        np.testing.assert_array_equal(program(x, plan), net(x, plan, exact=True).numpy())
        np.testing.assert_array_equal(run(x.numpy(), plan), program(x, plan))
    assert float((net(x, 8, exact=True) - expected).norm() / expected.norm()) < 0.06


def pools(m: Any, y: Tensor) -> Tensor:
    maps = y.reshape(y.shape[0] * 3, 2, 2, 4)
    parts = [F.max_pool2d(maps, 2), F.avg_pool2d(maps, (1, 2)), F.adaptive_avg_pool2d(maps, 1)]
    parts += [F.interpolate(maps, scale_factor=2), F.interpolate(maps, size=(3, 5), mode="bilinear")]
    return m.small(torch.cat([part.reshape(y.shape[0], -1) for part in parts], 1)[:, ::7][:, :4])


FOLDED: dict[str, tuple[Callable[[Any, Tensor], Tensor], int]] = {
    "time first": (lambda m, y: F.relu(m.mix(y.transpose(0, 1))).transpose(0, 1), 0),
    "time first, summed": (lambda m, y: (m.mix(y.permute(1, 0, 2)) + y.permute(1, 0, 2)).permute(1, 0, 2), 0),
    "time first, a step": (lambda m, y: m.mix(y.transpose(0, 1))[-1], 0),
    "time first, a mean": (lambda m, y: m.mix(y.transpose(0, 1)).amax(0), 0),
    "time first, a token": (
        lambda m, y: torch.cat([m.token.expand(-1, y.shape[0], -1), y.transpose(0, 1)]).transpose(0, 1),
        0,
    ),
    "time last": (lambda m, y: m.conv(y).permute(1, 2, 0).permute(2, 0, 1), 0),
    "channels first": (lambda _, y: y.permute(2, 0, 1).permute(1, 2, 0) + y, 0),
    "counted together": (lambda m, y: F.relu(m.mix(y.flatten(0, 1))).view(y.shape[0], 6, 8), 0),
    "counted, normed": (lambda m, y: m.norm(y.reshape(-1, 6, 4)).view(y.shape[0], 6, 8), 2),
    "counted, padded": (lambda _, y: F.pad(y.reshape(-1, 2, 8), (1, 0, 0, 1)).view(y.shape[0], 3, 27), 0),
    "counted, halves": (lambda m, y: m.small(y.reshape(-1, 2, 8).chunk(2, -1)[1]).reshape(y.shape[0], 24), 0),
    "windows": (windows, 0),
    "windows and a mask": (masked_windows, 0),
    "heads with the batch": (heads, 2),
    "queries, keys, values": (qkv, 2),
    "windows of length 1": (lambda m, y: F.normalize(m.mix(y).reshape(-1, 2, 8), dim=-1).view(y.shape[0], 6, 8), 0),
    "several constant matrices": (by_matrices, 0),
    "a loop over time": (by_time, 0),
    "two batches in one": (twice, 0),
    "a first state": (first_state, 0),
    "pools": (pools, 0),
    "flipped": (lambda _, y: y.transpose(0, 1).flip(0).roll(1, 2).transpose(0, 1), 0),
}
"""Name -> forward, and how many transpositions it needs."""


@pytest.mark.parametrize("name", FOLDED)
def test_the_network_computes_what_the_model_does(name: str) -> None:
    call, moves = FOLDED[name]
    torch.manual_seed(2)
    model = Heads(call).eval()
    with torch.no_grad():
        model(torch.randn(2, 6, 4))
    net, x = ready(model, (6, 4), widths=(2, 5, 8))
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    program = dqt.lower(net)
    assert sum(type(op).__name__ == "Transpose" for op in program.ops) == moves
    for plan in (2, 5, 8):
        np.testing.assert_array_equal(program(x, plan), net(x, plan, exact=True).numpy())
    run = dqt.Runtime(program, threads=1)
    np.testing.assert_array_equal(run(x.numpy(), 5), program(x, 5))
    assert float((net(x, 8, exact=True) - expected).norm() / expected.norm()) < 0.06
