"""What ``net(x, plan, exact=True)`` computes in torch, ``interpret`` computes in NumPy: equal to the bit, always."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dqt.arith.cascade import Cascade
from dqt.arith.plan import Plan, PlanError, PlanLike
from dqt.lower.emit import lower
from dqt.nn.calibrate import calibrate
from dqt.nn.config import Config
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.program.interpret import execute, interpret
from dqt.program.layered import Layered
from dqt.program.program import Program
from dqt.testing.networks import random_model, ready, small, with_controller
from tests.parity.build import exact_values, scale_of


def mixed(net: Net, seed: int) -> Plan:
    """Weights and activations of every layer, the edges included, at widths of their own."""
    widths, rng = net.space.widths, np.random.default_rng(seed)
    return Plan.of({name: (int(rng.choice(widths)), int(rng.choice(widths))) for name in net.layers})


def plans(net: Net) -> list[PlanLike]:
    """Uniform widths, mixed plans, and what else the network takes."""
    made: list[PlanLike] = [None, *net.space.widths, mixed(net, 1), mixed(net, 2)]
    if len(net.nodes[-1].shape) == 1:
        widths = net.space.widths[:3]
        made.append(Cascade(widths, (1 << 18, 1 << 17)[: len(widths) - 1]))
    return [*made, "auto"] if net.space.choices else made


def check(net: Net, x: torch.Tensor) -> Program:
    """Equality under every plan; the program, for more."""
    program = lower(net)
    for plan in plans(net):
        served, computed = interpret(program, x, plan), net(x, plan, exact=True).numpy()
        assert served.dtype == computed.dtype == np.float32
        np.testing.assert_array_equal(served, computed, err_msg=str(plan))
    return program


def train(net: Net, x: torch.Tensor) -> None:
    """A few steps at some widths, so that clips, ranges and statistics by width all move."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.02)
    target = torch.randn(net(x).shape, generator=torch.Generator().manual_seed(2))
    net.train()
    for b in (net.space.widths[0], net.space.widths[-1], net.space.widths[0]):
        optimizer.zero_grad()
        (net(x, b) - target).square().mean().backward()
        optimizer.step()
    net.eval()


@pytest.mark.parametrize("seed", range(32))
def test_random_networks(seed: int) -> None:
    model, shape = random_model(seed)
    options: dict[str, Any] = {"norm": ("per_width", "shared")[seed % 2], "master": (8, 6, 4)[seed % 3]}
    options["weight_clip"] = ("learned", "statistic")[seed // 2 % 2]
    net, x = ready(model, shape, **options)
    check(net, x)
    train(net, x)
    check(net, x)


@pytest.mark.parametrize("reads", ["stem", "input"])
@pytest.mark.parametrize("options", [{}, {"choices": (2, 5, 8)}, {"grid": 1}])
def test_the_controller_chooses_the_same_widths(reads: str, options: dict[str, Any]) -> None:
    net, x = ready(small(), (3, 8, 8), **with_controller(reads=reads, **options))
    logits = net.layer("controller.logits")
    assert logits.bias is not None
    with torch.no_grad():  # a controller that has learned nothing likes one width: let the input alone decide
        values = exact_values(net, x, "auto")
        logits.bias.sub_(values["controller.logits"].float().mean(0) * scale_of(net, "controller.logits"))
    program = check(net, x)
    _, choice = net.route(x, exact=True)
    result = execute(program, x, "auto")
    columns = [net.layers.index(name) for name in choice.layers]
    np.testing.assert_array_equal(result.widths[:, columns], choice.widths.numpy())
    assert len(np.unique(result.widths[:, columns])) > 1
    train(net, x)
    check(net, x)


def test_inputs_at_the_edges_of_the_codes() -> None:
    """Halves of a step (ties to even), values beyond the range, and the largest floats."""
    net, x = ready(small(), (3, 8, 8))
    step = net.codes("input").scale
    ties = torch.arange(-150, 150).repeat(2)[: 3 * 64].reshape(1, 3, 8, 8) * step + step / 2
    program = lower(net)
    for data in (ties, x * 1e30, torch.full_like(x, 3e38), torch.zeros_like(x), x.double(), x.half(), x.bfloat16()):
        np.testing.assert_array_equal(interpret(program, data.float(), 3), net(data, 3, exact=True).numpy())


@pytest.mark.parametrize("signed", [True, False])
def test_pixels_without_a_sign(signed: bool) -> None:
    torch.manual_seed(3)
    x = torch.rand(4, 3, 8, 8)
    net = calibrate(prepare(small(), x, Config(input_signed=signed)).eval(), [x])
    assert net.codes("input").zero == 0  # calibration sees that none is negative
    check(net, x)
    net = calibrate(prepare(small(), x - 0.5, Config()).eval(), [x - 0.5])
    assert net.codes("input").zero == 128
    check(net, x - 0.5)


def test_counts_of_layers_are_the_programs() -> None:
    for seed in range(8):
        model, shape = random_model(seed)
        net, _ = ready(model, shape, **with_controller())
        program = lower(net)
        values = {value.name: value for value in program.values}
        stated = (*net.space.layers, *net.space.controller)
        ops = {op.layer: op for op in program.ops if isinstance(op, Layered)}
        assert stated == tuple(ops[layer.name].counts(values, edge=layer.edge) for layer in stated)


def test_a_cascade_needs_classes_in_both() -> None:
    net, x = ready(random_model(3)[0], (3, 9, 8))  # its output is an image
    plan = Cascade((2, 8), (10,))
    with pytest.raises(PlanError, match="needs"):
        net(x, plan, exact=True)
    with pytest.raises(PlanError, match="needs"):
        interpret(lower(net), x, plan)


def test_a_batch_is_its_samples() -> None:
    net, x = ready(small(), (3, 8, 8), **with_controller())
    for plan in (2, "auto", Cascade((2, 3, 8), (1 << 18, 1 << 18))):
        whole = net(x, plan, exact=True)
        assert torch.equal(whole, torch.cat([net(x[i : i + 1], plan, exact=True) for i in range(len(x))]))


def test_products_stay_exact_without_onednn() -> None:
    """Other float32 convolutions use Winograd's transform (off by up to 0.3 here), or round operands to bfloat16."""
    net, x = ready(small(), (3, 8, 8))
    many = x.repeat(8, 1, 1, 1)
    expected = interpret(lower(net), many, 8)
    library: Any = torch.backends.mkldnn
    before = library.enabled
    try:
        torch._C._set_mkldnn_enabled(False)
        np.testing.assert_array_equal(net(many, 8, exact=True).numpy(), expected)
    finally:
        torch._C._set_mkldnn_enabled(before)
    torch.set_float32_matmul_precision("medium")
    try:
        np.testing.assert_array_equal(net(many, 8, exact=True).numpy(), expected)
    finally:
        torch.set_float32_matmul_precision("highest")
