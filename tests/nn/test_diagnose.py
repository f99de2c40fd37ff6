"""Findings: each unhealthy network says its own, with the place and the number, and healthy ones say nothing."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dqt
from dqt.nn.calibrate import calibrate, run_calibration
from dqt.nn.config import Config
from dqt.nn.diagnose import Finding, distinct, sentences
from dqt.nn.prepare import prepare
from dqt.testing.networks import Model, conv, small


def images(count: int = 64, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(7))


def found(model: nn.Module, x: Tensor, observer: Any = "mse", **options: Any) -> dict[str, Finding]:
    """Findings by kind and place; that the warnings are these."""
    net = prepare(model.eval(), x[:2], Config(**options)).eval()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        calibrate(net, torch.split(x, 16), observer=observer)
    assert [str(each.message) for each in said] == sentences(net.findings)
    assert all(each.category is dqt.CalibrationWarning and each.filename == __file__ for each in said)
    return {f"{each.kind} {each.where}": each for each in net.findings}


def plain(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    body = (conv(1, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), conv(8, 8, groups=8), nn.ReLU6())
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10))


def weight_of(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight


def test_a_healthy_network_says_nothing() -> None:
    for seed in range(4):
        assert not found(plain(seed), images())
        assert not found(small(seed), torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(seed)))


def test_an_outlier_says_where_it_is_and_what_each_observer_makes_of_it() -> None:
    x = images()
    x[37, 0, 2, 2] = -77.0
    for observer in ("mse", "percentile", "max"):
        said = found(plain(), x, observer)
        assert [key for key in said if key.startswith("outlier")] == [
            "outlier input"
        ]  # "max" keeps it, but what it does further in is the same event
        text = str(said["outlier input"])
        assert "the input: -77 in batch 2, sample 5, channel 0, where the others reach 0.99" in text
        assert ("saturates" in text) == (observer != "max")
        assert said["outlier input"].number == pytest.approx(77, rel=1e-3)


def test_an_outlier_inside_is_its_own() -> None:
    """One sample that the network itself blows up."""

    def square(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        return m.b(y * y * y * y)

    x = images() * 0.2
    x[20] *= 5
    first = conv(1, 4, 1, bias=False)
    nn.init.ones_(first.weight)
    said = found(Model(square, a=first, b=conv(4, 4)), x)
    assert "outlier input" not in said
    assert any(key.startswith("outlier mul") for key in said)


def test_columns_of_different_units() -> None:
    units = torch.tensor([1e3, 1, 1, 1, 1, 1])
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(1)).abs() * units
    first = nn.Linear(6, 8)
    with torch.no_grad():
        first.weight.div_(units)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(8, 3))
    said = found(model, x)
    text = str(said["channels input"])
    assert "5 of 6 use fewer than 4 of 256 codes" in text
    assert said["channels input"].number > 0.5
    assert "begin with a batch norm" in text
    norm = nn.BatchNorm1d(6)
    norm.running_mean, norm.running_var = x.mean(0), x.var(0)
    assert not found(nn.Sequential(norm, nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), x)
    assert not found(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), x / x.amax(0))


def test_columns_far_from_zero() -> None:
    """What counts for an input is the span of a column, not how large it is."""
    x = torch.rand(64, 4, generator=torch.Generator().manual_seed(1)) + torch.tensor([1000.0, 1000.0, 0.0, 0.0])
    assert "channels input" in found(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), x)


def test_small_columns_that_nothing_needs() -> None:
    """The border of an image that was flattened: tiny columns with weights as all others."""
    x = images().flatten(1)
    x[:, :8] *= 0.004
    torch.manual_seed(0)
    assert not found(nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3)), x)


@pytest.mark.parametrize("depthwise", [False, True])
def test_channels_of_different_size(depthwise: bool) -> None:
    torch.manual_seed(0)
    first, second = conv(1, 10, bias=False), conv(10, 10, groups=10 if depthwise else 1)
    sizes = torch.ones(10)
    sizes[:2] = 300.0
    with torch.no_grad():
        first.weight.abs_().mul_(sizes.view(-1, 1, 1, 1))
        second.weight.div_(sizes.view(-1, 1, 1, 1) if depthwise else sizes.view(1, -1, 1, 1))
    assert not found(nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), conv(10, 4)), images())  # they are equalized
    capped = nn.Sequential(first, nn.Hardtanh(0, 1e4), second, nn.ReLU(), conv(10, 4))
    said = found(capped, images())
    assert "8 of 10 use fewer than 4 of 256 codes" in str(said["channels 0"])


def joined(m: Any, x: Tensor) -> Tensor:
    f = m.a(x).relu().flatten(1)
    return m.last(torch.cat([m.boxes(f), m.scores(f).sigmoid()], 1))


def test_a_join_of_different_sizes() -> None:
    torch.manual_seed(0)
    boxes = nn.Linear(128, 4)
    model = Model(joined, a=conv(1, 2), boxes=boxes, scores=nn.Linear(128, 3), last=nn.Linear(7, 2))
    assert not found(model, images())
    with torch.no_grad():
        boxes.weight.mul_(2000)
    said = found(model, images())
    (key,) = (key for key in said if key.startswith("join"))
    assert "operand 1 (sigmoid) spans" in str(said[key])
    assert said[key].number < 8


def test_pruned_weights() -> None:
    model = plain()
    with torch.no_grad():
        for layer, part in ((model[2], 0.5), (model[8], 0.2)):
            weight = weight_of(layer).flatten()
            weight[torch.randperm(len(weight))[: int(part * len(weight))]] = 0.0  # a view: the layer's own
    assert not found(model, images())  # by the nearest rule
    said = found(model, images(), rule="midpoint")
    assert list(said) == ["pruned 2"]
    assert said["pruned 2"].number == pytest.approx(0.5, abs=0.01)
    assert not found(model, images(), widths=(8,), rule="midpoint")  # the master has a zero


def test_rows_of_zeros_come_back_as_zeros() -> None:
    model = plain()
    with torch.no_grad():
        weight_of(model[2])[:5] = 0.0
    assert not found(model, images())


def test_a_value_that_goes_blind() -> None:
    """A few large values in every sample, so that none of them is an outlier."""
    x = images(64) * 0.01
    x[:, 0, 4, 4] = 1.0
    first = conv(1, 4, 1, bias=False)
    nn.init.ones_(first.weight)
    model = nn.Sequential(first, nn.ReLU(), conv(4, 4), nn.ReLU(), conv(4, 3))
    said = found(model, torch.nn.functional.pad(x, (8, 8, 8, 8), value=0.01), input_signed=False)
    assert said["blind 0"].number > 0.99
    assert "at 2 bits" in str(said["blind 0"])


def test_an_input_in_two_units() -> None:
    """Too many to be outliers: they are the data, and the others have no codes."""
    x = images(100)
    x[:6] *= 1020
    said = found(plain(), x)
    assert 0.75 < said["blind input"].number < 0.99
    assert "at 8 bits" in str(said["blind input"])
    assert "samples in another unit" in str(said["blind input"])


def test_a_few_weights_that_leave_the_others_no_codes() -> None:
    model = plain()
    with torch.no_grad():
        weight_of(model[2])[:, 0, 0, 0] = 4.0
    said = found(model, images())
    assert list(said) == ["coarse 2"]
    assert said["coarse 2"].number > 1
    assert not found(model, images(), widths=(6, 8))


@pytest.mark.parametrize("behind", [nn.Identity(), nn.Flatten(0, 0)])
def test_an_output_of_256_levels_that_are_too_few(behind: nn.Module) -> None:
    """What a table gives is codes; values that are large and hardly vary lose most."""
    torch.manual_seed(0)
    a = nn.Linear(4, 4)
    body = Model(lambda m, x: behind(nn.functional.leaky_relu(m.a(x))), a=a)
    x = torch.randn(64, 4)
    assert "output" not in {each.kind for each in found(body, x).values()}
    with torch.no_grad():
        a.bias.fill_(50.0)
    said = [each for each in found(body, x).values() if each.kind == "output"]
    assert len(said) == 1
    assert said[0].number > 0.05
    assert "the network's output has 256 levels" in said[0].what
    alone = Model(lambda m, x: m.a(x), a=a)
    assert "output" not in {each.kind for each in found(alone, x).values()}


def test_what_calibration_saw_only_zeros_of() -> None:
    model = plain()
    with torch.no_grad():
        model[2].register_parameter("bias", nn.Parameter(torch.full((8,), -100.0)))
    assert "dead 2" in found(model, images())
    assert "dead input" in found(plain(), torch.zeros(16, 1, 8, 8))
    assert "constant input" in found(plain(), torch.full((16, 1, 8, 8), 0.5))


def test_many_of_a_kind_are_one_sentence() -> None:
    each = [Finding("dead", f"layer{i}", "calibration saw only zeros", 0.0, "look at it") for i in range(9)]
    assert sentences(each[:5]) == [f"layer{i}: calibration saw only zeros; look at it" for i in range(5)]
    (text,) = sentences(each)
    assert text.startswith("layer0: calibration saw only zeros; look at it (and the same at 8 more: layer1, ")
    other = Finding("pruned", "fc", "x", 0.5, "y")
    assert sentences([*each, other]) == [text, "fc: x; y"]


def test_a_value_with_several_readers_is_said_once() -> None:
    first, again = (Finding("channels", "a", what, 0.5, "") for what in ("first", "again"))
    other = Finding("blind", "a", "", 0.5, "")
    assert distinct([first, other, again]) == (first, other)


def test_findings_are_those_of_the_last_calibration() -> None:
    net = prepare(plain(), images()[:2]).eval()
    counts = [len(net.findings)]
    for x in (torch.zeros(4, 1, 8, 8), images()):
        run_calibration(net, [x])
        counts.append(len(net.findings))
    assert counts[0] == counts[2] == 0 < counts[1]
