"""The differentiable pass against the exact one, node by node: fed the same codes, at most one code apart."""

from __future__ import annotations

import torch
from torch import Tensor

from dqt.arith.plan import Plan, resolve
from dqt.nn import fake
from dqt.nn.graph import INPUT, Node
from dqt.nn.net import Net
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.testing.networks import random_model, ready, small
from dqt.testing.zoo import torchvision
from tests.parity.build import exact_values, scale_of

RARE = 1e-5
"""Share of codes that may be one apart: ties, decided by the last bit of a float. Seen here: 4 in 3.3 million."""


def signal(net: Net, value: str, codes: Tensor) -> Signal:
    """What stands for ``codes`` in the differentiable pass."""
    whole = [node.out for node in net.nodes if net.quantizer(node) is None]
    if value in whole:
        return Signal(codes.float() * scale_of(net, value), None)
    quantizer = net.quantizer_of(value)
    return Signal((codes - quantizer.zero).float() * quantizer.scale().detach(), quantizer)


def as_codes(net: Net, node: Node, out: Signal) -> Tensor:
    """The result of a node in codes, or in the int32 values of the program."""
    if out.quantizer is None:
        return (out.raw / scale_of(net, node.out)).round()
    codes = fake.narrow_activation(out.raw, out.quantizer.scale(), out.quantizer.zero, out.quantizer.n, out.quantizer.n)
    return codes + out.quantizer.zero


@torch.no_grad()
def apart(net: Net, x: Tensor, b: int) -> tuple[int, int]:
    """How many codes differ, of how many; fails where one differs by more than 1.

    Int32 results have 24 bits, as a float32 has: their last bit is anybody's, and they are not counted.
    """
    plan = resolve(net.space, b)
    assert isinstance(plan, Plan)
    values, run = exact_values(net, x, b), Run(dict(plan.items_))
    first = (as_codes(net, net.nodes[0], signal(net, INPUT, values[INPUT])) - values[INPUT]).abs()
    assert first.max() == 0
    differ = total = 0
    for node in net.nodes:
        out = net.fake_node(node, [signal(net, name, values[name]) for name in node.ins], run)
        difference = (as_codes(net, node, out) - values[node.out]).abs()
        assert difference.max() <= 1, (node.kind, node.out, float(difference.max()))
        if out.quantizer is not None:
            differ += int((difference > 0).sum())
            total += difference.numel()
    return differ, total


def test_one_step_is_at_most_one_code_apart() -> None:
    results = []
    for seed in range(16):
        model, shape = random_model(seed)
        net, _ = ready(model, shape, norm=("per_width", "shared")[seed % 2])
        x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(seed))
        results += [apart(net, x, b) for b in net.space.widths]
    differ, total = (sum(values) for values in zip(*results, strict=True))
    assert total > 3_000_000
    assert differ <= RARE * total


@torch.no_grad()
def test_a_rough_run_is_float32_and_at_most_a_code_from_the_program() -> None:
    torch.manual_seed(0)
    net, x = ready(torchvision().models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=5).eval(), (3, 32, 32))
    plan = resolve(net.space, 4)
    assert isinstance(plan, Plan)
    exact, rough = (Run(dict(plan.items_), rough=each) for each in (False, True))
    values = net.read((x,), exact)
    differ = total = 0
    for node in net.nodes:
        ins = [values[name] for name in node.ins]
        values[node.out], other = net.fake_node(node, ins, exact), net.fake_node(node, [*map(as_float32, ins)], rough)
        assert node.layer or other.raw.dtype == torch.float32, node.kind
        if other.quantizer is not None and not (node.quantizer == "same" or node.layer):
            difference = (as_codes(net, node, values[node.out]) - as_codes(net, node, other)).abs()
            assert difference.max() <= 1, (node.kind, node.out)
            differ += int((difference > 0).sum())
            total += difference.numel()
    assert total > 20_000
    assert differ < 3e-3 * total  # the softmax of the program is not the float one


def as_float32(signal: Signal) -> Signal:
    """The value as it waits in a rough run."""
    return signal.like(signal.raw.float())


def test_evaluation_and_training_compute_the_same_widths() -> None:
    """Without batch norms, and with ranges that stand still, training changes the order of float operations alone."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(128, 5),
    )  # fmt: skip
    net, _ = ready(model, (3, 8, 8), momentum=0.9999999)
    x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        for b in net.space.widths:
            served = net.eval()(x, b)
            trained = net.train()(x, b)
            assert (served - trained).norm() <= 2e-3 * served.norm()
            assert ((served - trained).abs() < 1e-5 * served.abs().max()).float().mean() > 0.8


def test_the_whole_network_agrees_in_its_answers() -> None:
    net, _ = ready(small(), (3, 8, 8))
    x = torch.randn(256, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        for b in (8, 4, 2):
            same = net(x, b).argmax(1) == net(x, b, exact=True).argmax(1)
            assert same.float().mean() > 0.98
