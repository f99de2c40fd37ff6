"""What dqt.doctor and net.summary say of models: true numbers, every obstacle, and nothing left out."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dqt
from dqt.nn.layered import product
from dqt.nn.prepare import prepare
from dqt.nn.ranges import Signal
from dqt.program.planned import accumulator_bits
from dqt.testing.networks import Model, conv

WIDTHS = dqt.Config(widths=(2, 4, 8))


def images(count: int = 64) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(5))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.c = nn.Linear(64, 3), conv(1, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.fc(x.flatten(1)), "b": self.c(x)}


def plain() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        conv(1, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 8), nn.Hardswish(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 5),
    ).eval()  # fmt: skip


def test_the_numbers_are_those_of_the_program() -> None:
    model, x = plain(), images()
    before = copy.deepcopy(model.state_dict())
    found = dqt.doctor(model, x[:2], [x[:40], x[40:]], WIDTHS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert found.goes
    assert (found.samples, found.widths) == (64, (8, 4, 2))
    net = dqt.calibrate(prepare(model, x[:2], WIDTHS), [x[:40], x[40:]])
    program = dqt.lower(net)
    assert {each.name: each.accumulator_bits for each in found.layers} == accumulator_bits(program)
    assert {b: cost.bitops for b, cost in found.costs.items()} == {b: dqt.cost(program, b).bitops for b in (8, 4, 2)}
    (output,) = found.outputs
    assert (output.name, output.shape, output.integer) == ("output", (5,), "int32")
    with torch.no_grad():
        want = model(x)
    for b in (8, 4, 2):
        got = torch.from_numpy(dqt.interpret(program, x, b))
        error = float((got - want).norm() / (want - want.mean()).norm())
        assert output.errors[b] == pytest.approx(error, rel=1e-4)
        assert output.agreement[b] == float((got.argmax(1) == want.argmax(1)).float().mean())
    assert output.errors[8] < output.errors[4] < output.errors[2]
    for layer in found.layers:
        assert layer.errors[8] < layer.errors[4] < layer.errors[2]


def test_a_layer_alone_is_measured_on_float_values() -> None:
    """The last layer reads what the float model gives, at 4 bits, and nothing before it is rounded."""
    model, x = plain(), images()
    found = {each.name: each.errors[4] for each in dqt.doctor(model, x[:2], [x], WIDTHS).layers}
    net = dqt.calibrate(prepare(model, x[:2], WIDTHS), [x])
    layer, node = net.layer("7"), next(node for node in net.nodes if node.layer == "7")
    with torch.no_grad():
        features = model[:7](x)
        got = product(layer, None, Signal(features, net.quantizer_of(node.ins[0])), (4, 4), False)
        want = model[7](features)
    error = (got - want).norm() / (want - want.mean()).norm()
    assert found["7"] == pytest.approx(float(error), rel=1e-3)


def test_every_obstacle_is_named() -> None:
    model = nn.Sequential(
        conv(1, 4),
        Model(lambda _, x: x.sort(1).values),
        conv(4, 4),
        Model(lambda _, x: x.kthvalue(2, 1, True).values),
        nn.ReLU(),
        conv(1, 2),
    )
    found = dqt.doctor(model, images()[:2])
    assert not found.goes
    assert [each.operator for each in found.obstacles] == ["aten.sort.default", "aten.kthvalue.default"]
    text = str(found)
    assert text.startswith("the model does not go through: 2 obstacles")
    assert all(each.module in text for each in found.obstacles)
    assert found.advice
    json.dumps(found.as_dict())


def test_the_text_says_it_all() -> None:
    x = images()
    found = dqt.doctor(plain(), x[:2], [x], WIDTHS)
    text = str(found)
    for words in ("every operator is supported", "acc bits", "same class", "BitOPs", "on 64 samples", "what to do"):
        assert words in text, words
    assert "of the example alone" in str(dqt.doctor(plain(), x[:2], None, WIDTHS))
    assert json.loads(json.dumps(found.as_dict()))["goes"] is True


def test_findings_and_warnings_are_said() -> None:
    x = images()
    x[3, 0, 2, 2] = 1e4
    model = plain()
    model[0].register_forward_hook(lambda *_: None)
    found = dqt.doctor(model, x[:2], [x], WIDTHS)
    assert any(each.kind == "outlier" for each in found.findings)
    assert any("hook" in text for text in found.said)
    text = str(found)
    assert "said by dqt.prepare" in text
    assert "findings" in text


def test_a_network_is_looked_at_as_it_is() -> None:
    x = images()
    net = prepare(plain(), x[:2], WIDTHS)
    assert dqt.doctor(net, None, [x]).goes
    assert not net.calibrated
    dqt.calibrate(net, [x])
    clips = {name: clip.clone() for name, clip in net.clips().items()}
    found = dqt.doctor(net, None, [x])
    assert all(torch.equal(clip, clips[name]) for name, clip in net.clips().items())
    assert found.outputs[0].errors == dqt.doctor(plain(), x[:2], [x], WIDTHS).outputs[0].errors


def test_what_serves_without_training() -> None:
    x = images()
    found = dqt.doctor(plain(), x[:2], [x], WIDTHS)
    errors = found.outputs[0].errors
    good = [b for b in (8, 4, 2) if errors[b] <= 0.1]
    assert found.lowest_good == min(good)
    assert any(f"{found.lowest_good} bits and more serve" in text for text in found.advice)
    assert [each.name for each in found.fragile(2)] == sorted(
        (each.name for each in found.layers if not each.edge and each.errors[2] > 0.25),
        key=lambda name: -next(each.errors[2] for each in found.layers if each.name == name),
    )


def test_several_inputs_and_outputs() -> None:
    found = dqt.doctor(Two().eval(), images()[:2], [images()], WIDTHS)
    assert [each.name for each in found.outputs] == ["a", "b"]
    assert not found.outputs[1].agreement


# summary


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.head = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.first = nn.BatchNorm1d(6)
        self.a.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Any:
        y = torch.tanh(self.norm(self.a(self.first(x))))
        return self.head(torch.tanh(self.a(y)).relu() + y)


def test_nothing_is_left_out_of_the_summary() -> None:
    net = prepare(Tied().eval(), torch.randn(4, 6), WIDTHS)
    found = net.summary()
    assert [each.name for each in found.layers] == list(net.layers)
    assert [each.edge for each in found.layers] == [layer.edge for layer in net.space.layers]
    assert found.layers[0].norm == "norm"
    assert found.tables.keys() == {"tanh"}
    assert len(found.tables["tanh"]) == 2
    counted = len(found.layers) + sum(found.others.values()) + sum(map(len, found.tables.values()))
    assert counted == len(net.nodes)
    assert any("a.weight" in names for names in found.shared)
    assert "a.weight" in found.frozen
    assert "first" in found.inputs[0]
    assert "int32" in found.outputs[0]
    text = str(net)
    assert "not calibrated" in text
    assert all(name in text for name in net.layers)
    json.dumps(found.as_dict())
