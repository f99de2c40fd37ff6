"""What multiplies a float input, and adds to it, is a part of how it becomes codes: by column, and exactly."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dqt
from dqt.arith.errors import InputRangeWarning
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.program.ops.quantize import Quantize

UNITS = torch.tensor([1000.0, 1.0, 0.01, 30.0, 1e-4, 5.0])
FAR = torch.tensor([5000.0, 0.0, 0.5, -90.0, 0.0, 2.0])


class Model(nn.Module):
    """A function of what it holds."""

    def __init__(self, function: Callable[..., Any], **held: Any) -> None:
        super().__init__()
        self.function = function
        for name, each in held.items():
            if isinstance(each, Tensor) and not isinstance(each, nn.Parameter):
                self.register_buffer(name, each)
            else:
                setattr(self, name, each)

    def forward(self, *x: Tensor) -> Any:
        return self.function(self, *x)


class Normalize(nn.Module):
    """As torchvision's transform of this name does it."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.std = nn.Buffer(mean), nn.Buffer(std)

    def forward(self, x: Tensor) -> Tensor:
        return x.clone().sub_(self.mean.view(-1, 1, 1)).div_(self.std.view(-1, 1, 1))


def seen(norm: Any, x: Tensor) -> Any:
    """A batch norm that has the statistics of ``x``, ``[N, C, ...]``, and parameters that are not new."""
    dims = [0, *range(2, x.dim())]
    with torch.no_grad():
        norm.running_mean.copy_(x.mean(dims))
        norm.running_var.copy_(x.var(dims))
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.uniform_(-0.5, 0.5)
    return norm


def columns(*shape: int, axis: int = 1, count: int = 64) -> Tensor:
    """Columns of different units, along ``axis``, that may lie far from zero."""
    along = [-1 if i == axis else 1 for i in range(len(shape) + 1)]
    spread = torch.randn(count, *shape, generator=torch.Generator().manual_seed(3))
    return spread * UNITS.view(along) + FAR.view(along)


def pixels(count: int = 16) -> Tensor:
    return (
        torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(4))
        * torch.tensor([1.0, 0.1, 0.01])[:, None, None]
    )


MEAN, STD = torch.tensor([0.5, 0.05, 0.005]), torch.tensor([0.3, 0.03, 0.003])
TABLE, IMAGES, WAVES = columns(6), pixels(), columns(6, 16)
STEPS = columns(16, 6, axis=2)
LAST = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


def parts(**held: Any) -> dict[str, Any]:
    return held


CASES: dict[str, tuple[Callable[..., Any], Callable[[], dict[str, Any]], Tensor]] = {
    "batch norm of a table": (
        lambda m, x: m.fc(m.bn(x)), lambda: parts(bn=seen(nn.BatchNorm1d(6), TABLE), fc=nn.Linear(6, 8)), TABLE
    ),
    "batch norm, then a ReLU": (
        lambda m, x: m.fc(m.bn(x).relu()), lambda: parts(bn=seen(nn.BatchNorm1d(6), TABLE), fc=nn.Linear(6, 8)), TABLE
    ),
    "mean and std by column": (
        lambda m, x: m.fc((x - m.mean) / m.std),
        lambda: parts(mean=TABLE.mean(0), std=TABLE.std(0), fc=nn.Linear(6, 8)), TABLE
    ),
    "constants, then a trained gain and bias": (
        lambda m, x: m.fc((x - m.mean) / m.std * m.gain + m.bias),
        lambda: parts(mean=TABLE.mean(0), std=TABLE.std(0), gain=nn.Parameter(torch.rand(6) + 0.5),
                      bias=nn.Parameter(torch.rand(6)), fc=nn.Linear(6, 8)), TABLE
    ),
    "one number, then a batch norm": (
        lambda m, x: m.fc(m.bn(x / 4.0 - 1.0)),
        lambda: parts(bn=seen(nn.BatchNorm1d(6), TABLE / 4 - 1), fc=nn.Linear(6, 8)), TABLE
    ),
    "images, mean and std in forward": (
        lambda m, x: m.conv((x - m.mean) / m.std),
        lambda: parts(mean=MEAN.view(3, 1, 1), std=STD.view(1, 3, 1, 1), conv=nn.Conv2d(3, 4, 3)), IMAGES
    ),
    "images, a module that normalizes in place": (
        lambda m, x: m.conv(m.norm(x)), lambda: parts(norm=Normalize(MEAN, STD), conv=nn.Conv2d(3, 4, 3)), IMAGES
    ),
    "images with channels last": (
        lambda m, x: m.conv(((x - m.mean) / m.std).permute(0, 3, 1, 2)),
        lambda: parts(mean=MEAN, std=STD, conv=nn.Conv2d(3, 4, 3)), IMAGES.permute(0, 2, 3, 1).contiguous()
    ),
    "images with channels last, moved before": (
        lambda m, x: m.conv(m.norm(x.permute(0, 3, 1, 2))),
        lambda: parts(norm=Normalize(MEAN, STD), conv=nn.Conv2d(3, 4, 3)), IMAGES.permute(0, 2, 3, 1).contiguous()
    ),
    "images, batch norm": (
        lambda m, x: m.conv(m.bn(x)), lambda: parts(bn=seen(nn.BatchNorm2d(3), IMAGES), conv=nn.Conv2d(3, 4, 3)), IMAGES
    ),
    "series, batch norm": (
        lambda m, x: m.conv(m.bn(x)), lambda: parts(bn=seen(nn.BatchNorm1d(6), WAVES), conv=nn.Conv1d(6, 8, 3)), WAVES
    ),
    "series of rows, batch norm of their columns": (
        lambda m, x: m.fc(m.bn(x.transpose(1, 2)).transpose(1, 2)),
        lambda: parts(bn=seen(nn.BatchNorm1d(6), STEPS.transpose(1, 2)), fc=nn.Linear(6, 4)), STEPS
    ),
    "series of rows, mean and std of their columns": (
        lambda m, x: m.conv(((x - m.mean) / m.std).transpose(1, 2)),
        lambda: parts(mean=STEPS.mean((0, 1)), std=STEPS.std((0, 1)), conv=nn.Conv1d(6, 8, 3)), STEPS
    ),
    "one channel that is made for the norm": (
        lambda m, x: m.conv(m.bn(x.unsqueeze(1))),
        lambda: parts(bn=seen(nn.BatchNorm1d(1), 1000 + TABLE[:, None, :1] * 0.01), conv=nn.Conv1d(1, 4, 1)),
        1000 + TABLE[:, :1] * 0.01
    ),
    "columns that are flattened before the norm": (
        lambda m, x: m.fc(m.bn(x.flatten(1))),
        lambda: parts(bn=seen(nn.BatchNorm1d(6), TABLE), fc=nn.Linear(6, 8)), TABLE[:, None]
    ),
}  # fmt: skip


def ready(model: nn.Module, *inputs: Tensor, **options: Any) -> Net:
    given = inputs if len(inputs) > 1 else inputs[0]
    example = tuple(x[:2] for x in inputs) if len(inputs) > 1 else inputs[0][:2]
    net = prepare(model.eval(), example, dqt.Config(widths=(2, 5, 8), **options))
    return dqt.calibrate(net, [given])


def agree(net: Net, *inputs: Tensor) -> dqt.Program:
    """The three implementations give the same integers at every width."""
    program = dqt.lower(net)
    run = dqt.Runtime(program, threads=1)
    given: Any = tuple(inputs) if len(inputs) > 1 else inputs[0]
    for plan in (2, 5, 8):
        expected = dqt.interpret(program, given, plan)
        np.testing.assert_array_equal(net(given, plan, exact=True).numpy(), expected)
        np.testing.assert_array_equal(run(given, plan), expected)
    return program


def error(net: Net, model: nn.Module, *inputs: Tensor) -> float:
    """How far 8 bits are from the float model, relatively."""
    with torch.no_grad():
        want = model(*inputs)
        got = torch.from_numpy(dqt.interpret(dqt.lower(net), inputs if len(inputs) > 1 else inputs[0], 8))
    return float((got - want).norm() / want.norm())


@pytest.mark.parametrize("name", CASES)
def test_what_an_input_meets_first_is_its_quantizer(name: str) -> None:
    function, held, x = CASES[name]
    torch.manual_seed(1)
    model = Model(
        lambda m, x: m.last(function(m, x)), **held(), last=nn.Sequential(nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    )
    with torch.no_grad():
        model(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = ready(model, x)
        program = agree(net, x)
    kinds = [type(op).__name__ for op in program.ops]
    assert kinds.count("Quantize") == 1
    assert not {"Rescale", "Add", "Multiply"} & set(kinds)
    assert error(net, model, x) < 0.03
    assert not net.findings


def test_it_trains_as_it_did_and_its_statistics_follow() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).train()
    net = prepare(model, TABLE[:2], dqt.Config(widths=(2, 8)))
    dqt.calibrate(net, [TABLE])
    names = dict(net.named_parameters())
    assert {"0.weight", "0.bias"} <= names.keys()
    mean = net.state_dict()["0.running_mean"].clone()
    torch.testing.assert_close(mean, TABLE.mean(0))  # a norm that had seen nothing
    before = {name: names[name].detach().clone() for name in ("0.weight", "0.bias")}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        (net(TABLE + 100.0, 2).square().mean() + net(TABLE + 100.0, 8).square().mean()).backward()
        optimizer.step()
    assert all(not torch.equal(names[name], value) for name, value in before.items())
    now = net.state_dict()["0.running_mean"]
    assert bool((now > mean + 1).all())
    agree_small = dqt.lower(net.eval())
    x = TABLE + 100.0
    np.testing.assert_array_equal(net(x, 2, exact=True).numpy(), dqt.interpret(agree_small, x, 2))
    with torch.no_grad():
        fake, exact = net(x, 8), net(x, 8, exact=True)
    assert float((fake - exact).norm() / exact.norm()) < 0.01


def test_a_trained_gain_and_bias_train() -> None:
    function, held, x = CASES["constants, then a trained gain and bias"]
    torch.manual_seed(0)
    net = ready(Model(function, **held()), x).train()
    net(x, 5).square().mean().backward()
    found = {name: p.grad for name, p in net.named_parameters() if name in ("gain.gain", "bias.bias")}
    assert len(found) == 2
    assert all(isinstance(g, Tensor) and bool((g != 0).all()) for g in found.values())


def test_an_input_that_others_read_has_codes_of_its_own_too() -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 6)
    model = Model(lambda m, x: m.b(m.a(m.bn(x)).relu() + x), bn=seen(nn.BatchNorm1d(6), x), a=nn.Linear(6, 6),
                  b=nn.Linear(6, 3))  # fmt: skip
    net = ready(model, x)
    program = agree(net, x)
    assert [op.x for op in program.ops if isinstance(op, Quantize)] == ["input", "input"]
    assert error(net, model, x) < 0.03
    net.train()(x, 5).sum().backward()
    assert net.get_submodule("bn").weight.grad is not None


def test_an_input_that_is_an_output() -> None:
    model = Model(lambda m, x: (m.a(m.bn(x)), x), bn=seen(nn.BatchNorm1d(6), TABLE), a=nn.Linear(6, 3))
    net = ready(model, TABLE)
    program = dqt.lower(net)
    assert sum(isinstance(op, Quantize) for op in program.ops) == 2
    expected = dqt.interpret(program, TABLE, 5)
    for got, name in zip(net(TABLE, 5, exact=True), ("0", "1"), strict=True):
        np.testing.assert_array_equal(got.numpy(), expected[name])


def test_several_inputs_of_which_some_are_standardized() -> None:
    torch.manual_seed(0)
    other = torch.randn(64, 4)
    model = Model(lambda m, x, y: m.c(m.a(m.bn(x)).relu() + m.b(y).relu()), bn=seen(nn.BatchNorm1d(6), TABLE),
                  a=nn.Linear(6, 8), b=nn.Linear(4, 8), c=nn.Linear(8, 3))  # fmt: skip
    net = ready(model, TABLE, other)
    agree(net, TABLE, other)
    assert error(net, model, TABLE, other) < 0.03


def test_named_dimensions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(seen(nn.BatchNorm1d(6), WAVES), nn.Conv1d(6, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 2, 1))
    net = prepare(model.eval(), WAVES[:2], dqt.Config(widths=(2, 8)), dims={"input": {2: "length"}})
    dqt.calibrate(net, [WAVES, WAVES[:, :, :9]])
    program = dqt.lower(net)
    run = dqt.Runtime(program, threads=1)
    for length in (5, 16):
        x = WAVES[:, :, :length]
        expected = dqt.interpret(program, x, 2)
        np.testing.assert_array_equal(net(x, 2, exact=True).numpy(), expected)
        np.testing.assert_array_equal(run(x, 2), expected)


def test_a_state_keeps_its_codes() -> None:
    def step(m: Any, x: Tensor, h: Tensor) -> Any:
        y = torch.tanh(m.a(m.bn(x)) + m.b(h * 0.5))
        return m.c(y), y

    torch.manual_seed(0)
    model = Model(step, bn=seen(nn.BatchNorm1d(6), TABLE), a=nn.Linear(6, 4), b=nn.Linear(4, 4), c=nn.Linear(4, 2))
    example = (TABLE[:2], torch.zeros(2, 4))
    kinds = {}
    for name, state in (("an input", None), ("a state", {"1": "1"})):
        net = prepare(model.eval(), example, dqt.Config(widths=(2, 8)), state=state)
        kinds[name] = [node.kind for node in net.nodes].count("standardize")
    assert kinds == {"an input": 2, "a state": 1}
    dqt.calibrate(net, [(TABLE, torch.randn(64, 4))])
    program = dqt.lower(net)
    session, state = dqt.Runtime(program, threads=1).session(), None
    for x in (TABLE[:1], TABLE[1:2], TABLE[2:3]):
        want, state = dqt.interpret(program, x, 2, state=state)
        np.testing.assert_array_equal(session(x, 2), want)


@pytest.mark.parametrize(("gain", "kind"), [(1 / 255.0, "unsigned"), (-1 / 255.0, "signed")])
def test_what_is_never_negative_stays_so(gain: float, kind: str) -> None:
    x = torch.randint(0, 256, (8, 3, 8, 8)).float()
    model = Model(lambda m, x: m.conv(x * gain), conv=nn.Conv2d(3, 2, 3))
    net = ready(model, x, input_signed=False)
    (node,) = (node for node in net.nodes if node.kind == "standardize")
    assert node.quantizer == kind
    agree(net, x)


@pytest.mark.parametrize("observer", ["mse", "percentile", "max"])
def test_the_observer_asked_for_is_used(observer: Any) -> None:
    """One value in ten thousand is forty times as large as all others: only the largest value keeps it."""
    x = torch.randn(2000, 6)
    x[7, 2] = 200.0
    plain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    norm = nn.BatchNorm1d(6)
    norm.running_mean, norm.running_var = x.mean(0), x.var(0)
    normed = nn.Sequential(norm, *plain).eval()
    clips = []
    for model in (plain, normed):
        net = prepare(model, x[:2])
        with pytest.warns(dqt.CalibrationWarning, match="200|43"):
            dqt.calibrate(net, [x], observer=observer)
        (name,) = net.entries - net.floats
        clips.append(float(net.quantizer_of(name).clip))
    assert all((clip > 30) == (observer == "max") for clip in clips)


def test_inputs_out_of_range_are_warned_of_by_column() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(seen(nn.BatchNorm1d(6), TABLE), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    program = dqt.lower(ready(model, TABLE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dqt.Runtime(program, threads=1)(TABLE.numpy(), 8)
    wrong = TABLE.clone()
    wrong[3, 2] = 5.0  # well within the range of the first column, 450 deviations from the mean of its own
    with pytest.warns(InputRangeWarning, match="sample 3"):
        dqt.Runtime(program, threads=1)(wrong.numpy(), 8)


def test_a_table_of_different_units_without_a_norm_is_named() -> None:
    torch.manual_seed(0)
    first = nn.Linear(6, 8)
    with torch.no_grad():
        first.weight.div_(UNITS)
    net = prepare(nn.Sequential(first, nn.ReLU(), nn.Linear(8, 3)).eval(), TABLE[:2])
    with pytest.warns(dqt.CalibrationWarning, match="begin with a batch norm"):
        dqt.calibrate(net, [TABLE])
