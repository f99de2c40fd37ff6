"""Channels of different size become alike; the float function stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dqt.lower.emit import lower
from dqt.nn.calibrate import run_calibration
from dqt.nn.channels import scalable
from dqt.nn.config import Config
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.run import Run
from dqt.program.interpret import interpret


class Join(nn.Module):
    """Two branches, joined, read by one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(12, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat([torch.relu(self.a(x)), torch.relu(self.b(x))], 1))


class Residual(nn.Module):
    """The first layer is read by an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(x))
        return self.last(torch.relu(self.second(y)) + y)


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def conv_norm() -> nn.Module:
    return chain(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 5, 3))


def depthwise() -> nn.Module:
    return chain(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU(), nn.Conv2d(16, 5, 1))


def grouped() -> nn.Module:
    return chain(
        nn.Conv2d(3, 16, 1), nn.LeakyReLU(), nn.Conv2d(16, 8, 3, groups=4), nn.MaxPool2d(2), nn.Conv2d(8, 5, 1)
    )


def flattened() -> nn.Module:
    pool = nn.AdaptiveAvgPool2d(2)
    return chain(nn.Conv2d(3, 16, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 5))


def behind_a_norm() -> nn.Module:
    return chain(nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 5))


class Attention(nn.Module):
    """One head, whose values are scaled through the product with the probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.last = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        found = nn.functional.scaled_dot_product_attention(self.q(x)[:, None], self.k(x)[:, None], self.v(x)[:, None])
        return self.last(found[:, 0])


class NormedStream(nn.Module):
    """A norm whose result a layer reads, and an addition as well."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.before, self.first, self.second, self.last = (nn.Linear(16, 16) for _ in range(4))
        self.norm, self.end, self.dropout = nn.LayerNorm(16), nn.LayerNorm(16), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(self.norm(x + self.before(x)))
        return self.last(self.end(y + self.second(torch.relu(self.first(y)))))


def in_one_dimension() -> nn.Module:
    return chain(nn.Conv1d(3, 16, 3), nn.ReLU(), nn.Conv1d(16, 5, 3))


def transposed() -> nn.Module:
    return chain(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.ConvTranspose2d(16, 6, 2, 2), nn.ReLU(), nn.Conv2d(6, 5, 1))


IMAGE, LINE, ROWS = (64, 3, 10, 10), (64, 3, 20), (64, 6, 16)
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[tuple[str, str]]]] = {
    "conv_norm": (conv_norm, IMAGE, [("1", "3")]),
    "depthwise": (depthwise, IMAGE, [("0", "2"), ("2", "4")]),
    "grouped": (grouped, IMAGE, [("0", "2"), ("2", "4")]),
    "flattened": (flattened, IMAGE, [("0", "4"), ("4", "6")]),
    "one dimension": (in_one_dimension, LINE, [("0", "2")]),
    "transposed": (transposed, IMAGE, [("0", "2"), ("2", "4")]),
    "join": (Join, IMAGE, [("a", "last")]),
    "norm": (behind_a_norm, ROWS, [("1", "2")]),
    "attention": (Attention, ROWS, [("v", "last")]),
}


@torch.no_grad()
def unbalance(model: nn.Module, first: str, second: str) -> None:
    """Every fourth channel of ``first`` a hundred times larger, and what reads it that much smaller."""
    one, two = model.get_submodule(first), model.get_submodule(second)
    weight, reader = one.weight, two.weight
    assert isinstance(weight, Tensor)
    assert isinstance(reader, Tensor)
    s = torch.ones(len(weight))
    s[::4] = 100.0
    weight.mul_(s.view(-1, *(1 for _ in weight.shape[1:])) if not isinstance(one, nn.ConvTranspose2d) else s)
    if isinstance(one.bias, Tensor):
        one.bias.mul_(s)
    if isinstance(two, nn.ConvTranspose2d):
        reader.div_(s.view(-1, 1, 1, 1))
        return
    groups = getattr(two, "groups", 1)
    width = reader.shape[1]
    copies = width * groups // len(s) if isinstance(two, nn.Linear) else 1
    columns = s.repeat_interleave(copies)
    columns = torch.cat([columns, columns.new_ones(max(0, width * groups - len(columns)))])
    rows = columns.view(groups, 1, width).expand(groups, len(reader) // groups, width).reshape(len(reader), width)
    reader.div_(rows.reshape(*rows.shape, *(1 for _ in reader.shape[2:])))


def calibrate(net: Net, batches: list[Tensor], *, equalize: bool = True) -> Net:
    """Without warnings: random weights on noise."""
    run_calibration(net, batches, equalize=equalize)
    return net


def error(net: Net, x: Tensor, expected: Tensor) -> float:
    return float((net(x, 8, exact=True) - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", CASES)
def test_channels_of_different_size_cost_nothing(name: str) -> None:
    torch.manual_seed(0)
    make, shape, pairs = CASES[name]
    model = make().eval()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    alike = error(calibrate(prepare(model, x[:2]), [x]), x, model(x).detach())
    for first, second in pairs:
        if not isinstance(model.get_submodule(first), nn.ConvTranspose2d):
            unbalance(model, first, second)
    expected = model(x).detach()
    untouched = error(calibrate(prepare(model, x[:2]), [x], equalize=False), x, expected)
    net = calibrate(prepare(model, x[:2]), [x])
    torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    assert error(net, x, expected) < max(1.35 * alike, 0.003)
    assert untouched > 1.5 * alike


@pytest.mark.parametrize(
    "model",
    [
        chain(nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 4, 1)),
        chain(nn.Conv2d(3, 8, 1), nn.Sigmoid(), nn.Conv2d(8, 4, 1)),
        chain(nn.Conv2d(3, 8, 1), nn.ReLU()),
        Residual(),
    ],
)
def test_what_does_not_commute_with_a_factor_is_left_alone(model: nn.Module) -> None:
    """A cap, a sigmoid, the network's output, an addition."""
    x = torch.randn(IMAGE)
    net = prepare(model.eval(), x[:2])
    channels = scalable(net)
    first = channels.sources.get(net.nodes[0].out)
    assert first is None or not bool(channels.free(first).any())
    before = {name: each.clone() for name, each in net.named_parameters() if name.endswith(("weight", "bias"))}
    calibrate(net, [x])
    assert all(torch.equal(each, dict(net.named_parameters())[name]) for name, each in before.items())


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_codes_of_a_norm_in_a_stream_have_factors_of_their_own(dropout: float) -> None:
    torch.manual_seed(0)
    model, x = NormedStream(dropout).eval(), torch.randn(ROWS)
    unbalance(model, "norm", "first")
    model.second.weight.data.mul_(1000.0)  # so that what the layer reads counts beside the stream
    expected = model(x).detach()
    untouched = calibrate(prepare(model, x[:2]), [x], equalize=False)
    net = calibrate(prepare(model, x[:2]), [x])
    torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), expected, rtol=1e-4, atol=1e-5)
    assert error(net, x, expected) < 0.7 * error(untouched, x, expected)
    kinds = [[type(op).__name__ for op in lower(each).ops].count("Normalize") for each in (untouched, net)]
    assert kinds == [2, 3]
    assert torch.equal(net(x, 4, exact=True), torch.from_numpy(interpret(lower(net), x, 4)))


def test_a_weight_of_two_layers_is_left_alone() -> None:
    first, shared = nn.Linear(8, 8), nn.Linear(8, 8)
    net = prepare(chain(first, nn.ReLU(), shared, nn.ReLU(), shared).eval(), torch.randn(2, 8))
    channels = scalable(net)
    assert not any(bool(channels.free(ids).any()) for ids in channels.sources.values())


def test_twice_is_once_and_norms_of_every_width_follow() -> None:
    torch.manual_seed(0)
    model, x = conv_norm().eval(), torch.randn(IMAGE)
    unbalance(model, "1", "3")
    net = calibrate(prepare(model, x[:2], Config(widths=(2, 4, 8))), [x])
    first = {name: each.clone() for name, each in net.state_dict().items()}
    calibrate(net, [x])
    for name, each in net.state_dict().items():
        torch.testing.assert_close(each, first[name], rtol=1e-4, atol=1e-6)
    norm = net.norm("1")
    assert norm is not None
    assert all(torch.equal(each.weight, norm.weight) for each in norm.sets)
    assert lower(net)(x, 4).shape == (64, 5, 6, 6)
