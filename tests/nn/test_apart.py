"""Neurons whose weights stick out get layers of their own; the float function stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dqt.export.file import integer_model
from dqt.lower.emit import lower
from dqt.nn.apart import outlying
from dqt.nn.calibrate import run_calibration
from dqt.nn.config import Config
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.run import Run
from dqt.program.interpret import interpret
from dqt.runtime.runtime import Runtime
from tests.export.exported import Compiled, assert_same
from tests.export.test_onnx import LEVELS, assert_equal, defined, fed, served
from tests.native.build import NATIVE, needs

FEATURES, HIDDEN, TOKENS = 16, 128, 6
SINK = 37
"""The neuron that fires on the first token."""


class Block(nn.Module):
    """A residual block between two layers, as in a transformer; its first token has features of its own."""

    def __init__(self, function: Callable[[Tensor], Tensor] = nn.functional.gelu, *, bias: bool = True) -> None:
        super().__init__()
        self.function, self.norm = function, nn.LayerNorm(FEATURES)
        self.up, self.down = nn.Linear(FEATURES, HIDDEN, bias=bias), nn.Linear(HIDDEN, FEATURES, bias=bias)
        self.begin, self.end = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, 5)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.begin(x)
        x = x + self.dropout(self.down(self.function(self.up(x))))
        return self.end(self.norm(x))


def with_a_sink(model: Block) -> Block:
    """The neuron reads the feature that is large in the first token, and writes into two features of the stream."""
    with torch.no_grad():
        model.begin.weight.copy_(torch.eye(FEATURES))
        model.up.weight[SINK] = 0.0
        model.up.weight[SINK, 0] = 4.0
        model.down.weight[:, SINK] *= 4.0
        model.down.weight[3:5, SINK] = torch.tensor([6.0, -4.0])
    return model.eval()


def tokens(count: int = 64) -> Tensor:
    x = torch.randn(count, TOKENS, FEATURES, generator=torch.Generator().manual_seed(1))
    x[:, :, 0] = -0.5
    x[:, 0, 0] = 5.0
    return x


def calibrated(model: nn.Module, x: Tensor, config: Config | None = None) -> Net:
    net = prepare(model, x[:2], config)
    run_calibration(net, [x], equalize=True)
    return net


def apart(net: Net) -> list[str]:
    return [node.layer for node in net.nodes if node.apart]


def silu_with_dropout(x: Tensor) -> Tensor:
    return nn.functional.dropout(nn.functional.silu(x), 0.1, training=False)


@pytest.mark.parametrize("function", [nn.functional.gelu, torch.relu, silu_with_dropout])
@pytest.mark.parametrize("bias", [True, False])
def test_the_float_function_stays(function: Callable[[Tensor], Tensor], *, bias: bool) -> None:
    model, x = with_a_sink(Block(function, bias=bias)), tokens()
    net = prepare(model, x[:2])
    assert apart(net) == ["up.apart", "down.apart"]
    torch.testing.assert_close(net._run(x, Run({}, quantized=False), False), model(x), rtol=1e-4, atol=1e-5)


def test_weights_keep_their_shape_and_what_went_is_zero() -> None:
    model = with_a_sink(Block())
    net = prepare(model, tokens(2))
    up, down, taken, read = (net.layer(name) for name in ("up", "down", "up.apart", "down.apart"))
    assert up.bias is not None
    assert taken.bias is not None
    assert read.bias is None
    assert not up.weight[SINK].any()
    assert not up.bias[SINK]
    assert not down.weight[:, SINK].any()
    assert torch.equal(taken.weight, model.up.weight[[SINK]])
    assert torch.equal(taken.bias, model.up.bias[[SINK]])
    assert torch.equal(read.weight, model.down.weight[:, [SINK]])
    others = [i for i in range(HIDDEN) if i != SINK]
    assert torch.equal(up.weight[others], model.up.weight[others])
    assert torch.equal(down.weight[:, others], model.down.weight[:, others])


def test_they_run_at_the_edge_width_and_have_no_corrections() -> None:
    net = calibrated(with_a_sink(Block()), tokens(), Config(widths=(4, 6, 8)))
    assert [layer.name for layer in net.space.layers if layer.edge] == ["begin", "up.apart", "down.apart", "end"]
    for name in apart(net):
        assert bool((net.layer(name).gain == 1).all())
        assert not bool(net.layer(name).correction.any())
    assert not bool((net.layer("down").gain == 1).all())


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_the_others_keep_their_codes(bits: int) -> None:
    model, x, config = with_a_sink(Block()), tokens(), Config(widths=(4, 6, 8))
    expected = model(x).detach()[:, 1:]  # of the tokens on which the neuron does not fire

    def error(net: Net) -> float:
        return float((net(x, bits, exact=True)[:, 1:] - expected).norm() / expected.norm())

    whole = config.model_copy(update={"apart": False})
    assert error(calibrated(model, x, config)) < 0.7 * error(calibrated(model, x, whole))


@needs(*NATIVE)
def test_one_program_in_all_implementations(tmp_path: Path) -> None:
    x = tokens(8)
    net = calibrated(with_a_sink(Block()), x)
    program = lower(net)
    compiled = Compiled(program, tmp_path)
    for bits in (4, 8):
        expected = interpret(program, x.numpy(), bits)
        assert torch.equal(net(x, bits, exact=True), torch.from_numpy(expected))
        assert (Runtime(program)(x.numpy(), bits) == expected).all()
        assert_same(compiled, x[:1].numpy(), bits)
        model = integer_model(program, bits)
        assert_equal(served(model, fed(program, x.numpy()), LEVELS[-1]), defined(program, x.numpy(), bits))


def test_at_other_sizes_of_a_named_dimension() -> None:
    model, x = with_a_sink(Block()), tokens(8)
    net = prepare(model, x[:2], dims={1: torch.export.Dim("length", min=2, max=32)})
    run_calibration(net, [x])
    program, shorter = lower(net), x[:, :3]
    assert torch.equal(net(shorter, 8, exact=True), torch.from_numpy(interpret(program, shorter.numpy(), 8)))


def test_both_parts_train() -> None:
    net = prepare(with_a_sink(Block()).train(), tokens(8))
    layers = [net.layer(name) for name in ("up", "down", "up.apart", "down.apart")]
    before = [layer.weight.clone() for layer in layers]
    net(tokens(8), 4).square().sum().backward()
    torch.optim.SGD(net.parameters(), lr=1e-3).step()
    assert not any(torch.equal(layer.weight, was) for layer, was in zip(layers, before, strict=True))


def test_what_the_model_does_not_train_is_not_trained_apart() -> None:
    model = with_a_sink(Block())
    model.down.weight.requires_grad_(False)
    model.up.bias.requires_grad_(False)
    net = prepare(model, tokens(2))
    trains = {name: each.requires_grad for name, each in net.named_parameters() if ".apart." in name}
    assert not trains["down.apart.weight"]
    assert not trains["up.apart.bias"]
    assert trains["up.apart.weight"]


class Seen(Block):
    """Another layer reads what the neurons give."""

    def forward(self, x: Tensor) -> Tensor:
        found = self.function(self.up(self.begin(x)))
        return self.end(self.down(found)) + found[..., :5]


class Twice(Block):
    """The same parameters twice."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.begin(x)
        for _ in range(2):
            x = self.down(self.function(self.up(x)))
        return self.end(x)


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (Block(), Config()),
        (with_a_sink(Block()), Config(apart=False)),
        (with_a_sink(Seen()), Config()),
        (with_a_sink(Twice()), Config()),
    ],
    ids=["nothing sticks out", "not asked for", "another reader", "twice"],
)
def test_left_as_it_is(model: Block, config: Config) -> None:
    assert apart(prepare(model.eval(), tokens(2), config)) == []


def test_which_columns_stick_out() -> None:
    weight = torch.ones(8, 128)
    weight[2, 5], weight[7, 9], weight[3, 11] = -8.5, 9.0, 8.0  # the last is not above 8 times the usual row's
    assert outlying(weight) == [5, 9]
    weight[0, 20] = 10.0  # a third of 128 channels: no exception
    assert outlying(weight) == []
    assert outlying(torch.zeros(8, 128)) == []
