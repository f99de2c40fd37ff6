"""All layers together: what moves, on which samples, and that it pays."""

from __future__ import annotations

import copy
from itertools import islice

import pytest
import torch
from torch import Tensor

from dqt.nn import refine as refinement
from dqt.nn.calibrate import run_calibration, set_ranges
from dqt.nn.config import Config
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.refine import _often, _places, _samples, _Task, _widths, refine, samples_for, steps_for, varied
from dqt.nn.set_range import Ranges
from dqt.nn.walk import Moments
from dqt.testing.networks import Model, conv, small


def calibrated() -> tuple[Net, Net, list[tuple[Tensor]], dict[str, Moments]]:
    """A small network calibrated the fast way, its float twin, data, and what the twin's layers give."""
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    net = prepare(small().eval(), x[:2], Config(widths=(2, 8))).eval()
    teacher, inputs = copy.deepcopy(net), [(part,) for part in torch.split(x, 8)]
    run_calibration(net, [x], ranges="per_width")
    return net, teacher, inputs, set_ranges(teacher, inputs, Ranges(teacher, "mse"), counts=[16])[16]


def test_a_width_comes_nearer_to_the_float_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "MOST_STEPS", 24)
    monkeypatch.setattr(refinement, "RATE", 5e-3)
    net, teacher, inputs, expected = calibrated()
    inside = net.layer(next(layer.name for layer in net.space.layers if not layer.edge))
    inside.gain[0] *= 1.5
    task, x = _Task(net, teacher, _places(net)), inputs[0]
    targets = task.targets(x)
    before, steps = float(task.loss(x, targets, 2).detach()), list[None]()
    refine(net, teacher, inputs, expected, lambda: steps.append(None))
    assert len(steps) == steps_for(net) == 24
    assert float(task.loss(x, targets, 2).detach()) < before - 0.1
    assert float(inside.gain[0].mean()) < 1.5
    assert not inside.gain.requires_grad
    assert inside.weight.grad is None


def test_what_does_not_become_better_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "MOST_STEPS", 2)
    monkeypatch.setattr(refinement, "RATE", 10.0)
    net, teacher, inputs, expected = calibrated()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    refine(net, teacher, inputs, expected, lambda: None)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_places_are_the_outputs_and_where_nothing_else_is_alive() -> None:
    model = Model(lambda m, x: m.last(torch.relu(m.a(x) + m.b(torch.relu(m.a(x))))), a=conv(3), b=conv(), last=conv())
    net = prepare(model.eval(), torch.randn(2, 3, 8, 8))
    (add,) = (node.out for node in net.nodes if node.kind == "add")
    outputs = {output.value for output in net.outputs}
    assert _places(net) >= {add, *outputs}
    inside = {node.out for node in net.nodes if node.layer == "b"}  # beside it the other operand is alive
    assert not _places(net) & inside


def test_large_networks_get_fewer_steps_and_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    net = calibrated()[0]
    monkeypatch.setattr(refinement, "MACS", 10 * sum(layer.macs for layer in net.space.layers) * samples_for(net) * 3)
    assert steps_for(net) == 10
    monkeypatch.setattr(refinement, "ELEMENTS", 5 * sum(torch.Size(node.shape).numel() for node in net.nodes))
    assert samples_for(net) == 5


def test_samples_of_batches_of_other_shapes_are_of_one_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.full((3, 5), 1.0),), (torch.full((4, 7), 2.0),)]
    seen = [x for (x,) in islice(_samples(batches, 2, generator), 6)]
    assert {tuple(x.shape) for x in seen} == {(2, 5), (2, 7)}
    alike = [(torch.arange(6.0)[:, None],), (torch.arange(6.0, 10.0)[:, None],)]
    epoch = torch.cat([x for (x,) in islice(_samples(alike, 5, generator), 2)])
    assert sorted(epoch.flatten().tolist()) == list(range(10))


def test_images_are_mirrored_and_moved() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.arange(16.0)[:, None], torch.arange(24.0)
    x = torch.stack([(100 * rows + columns), -(100 * rows + columns)])[None].repeat(40, 1, 1, 1)
    (y,) = varied((x,), generator)
    assert y.shape == x.shape
    assert torch.equal(y[:, 0], -y[:, 1])
    steps = y[:, 0, :, 8:16].diff(dim=-1)
    assert 0 < (steps == -1).all((1, 2)).sum() < 40  # the middle of what is mirrored falls
    assert ((steps == 1).all((1, 2)) | (steps == -1).all((1, 2))).all()
    shifts = (y[:, 0, 8, 8] // 100 - 8).tolist()
    assert set(shifts) == {-2, -1, 0, 1, 2}
    assert ((y[:, 0] % 100).amin((1, 2)) >= 0).all()


def test_what_is_no_image_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 16, 16)
    for x in ((torch.randn(2, 3, 16, 15),), (torch.randn(2, 16, 16),), (image.long(),), (image, image)):
        assert varied(x, generator) is x


def test_every_step_has_the_lowest_width() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [_widths((2, 3, 4, 8), generator) for _ in range(200)]
    assert all(each[0] == 2 and len(set(each)) == 3 for each in drawn)
    assert sum(3 in each for each in drawn) > sum(8 in each for each in drawn)
    assert _widths((8,), generator) == [8]
    assert _widths((4, 8), generator) == [4, 8]


@torch.no_grad()
def test_widths_judge_as_often_as_steps_have_them() -> None:
    widths, generator = (2, 3, 4, 8), torch.Generator().manual_seed(0)
    often = _often(widths)
    assert often[2] == 1.0
    assert sum(often.values()) == pytest.approx(3)
    drawn = [b for _ in range(500) for b in _widths(widths, generator)]
    assert sorted(widths, key=drawn.count) == sorted(widths, key=often.__getitem__)
    assert _often((8,)) == {8: 1.0}
    net, teacher, inputs, _ = calibrated()
    task = _Task(net, teacher, _places(net))
    loss = sum(len(x) * float(task.loss((x,), task.targets((x,)), b)) for (x,) in inputs for b in (2, 8))
    assert task.judged(inputs) == pytest.approx(loss)
