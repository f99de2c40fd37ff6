"""Passes of corrections: what they share, on which samples they run, and moments in few passes over memory."""

from __future__ import annotations

import copy

import pytest
import torch

from dqt.nn import correct as corrections
from dqt.nn.batches import some_of, spread
from dqt.nn.calibrate import calibrate, set_ranges
from dqt.nn.config import Config
from dqt.nn.correct import _correct, correct, cut, like_pairs, samples_for, unlike_pairs
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.set_range import Ranges
from dqt.nn.walk import moments
from dqt.testing.networks import small

WIDTHS = (2, 4, 8)


def network(edge_width: int = 8) -> tuple[Net, list[tuple[torch.Tensor]]]:
    x = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    net = prepare(small(), x[:2], Config(widths=WIDTHS, edge_width=edge_width)).eval()
    calibrate(net, [x], correct_bias=False)
    return net, [(part,) for part in torch.split(x, 5)]


@pytest.mark.parametrize("edge_width", [8, 4])
@torch.no_grad()
def test_passes_that_share_their_first_nodes_find_what_each_alone_finds(edge_width: int) -> None:
    net, inputs = network(edge_width)
    expected = set_ranges(net, inputs, Ranges(net, "mse"), counts=[12])[12]
    alone = copy.deepcopy(net)
    steps: list[None] = []
    for pairs in (like_pairs(net), unlike_pairs(net)):
        correct(net, inputs, expected, pairs, lambda: steps.append(None))
        for pair in pairs:  # without what comes before the first layer whose widths a plan chooses
            _correct(alone, cut(net, inputs), expected, pair, None, factors=True)
    assert len(steps) == len(WIDTHS) + 2 * len(WIDTHS) - 2
    assert like_pairs(net)[0] == (edge_width, edge_width)
    found, other = net.state_dict(), alone.state_dict()
    for name, value in found.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-6)


def test_batches_are_cut_into_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    net, inputs = network()
    assert [len(x) for (x,) in cut(net, inputs)] == [5, 5, 2]
    monkeypatch.setattr(corrections, "ELEMENTS", 2 * max(torch.Size(node.shape).numel() for node in net.nodes))
    parts = cut(net, inputs)
    assert [len(x) for (x,) in parts] == [2, 2, 1, 2, 2, 1, 2]
    assert torch.equal(torch.cat([x for (x,) in parts]), torch.cat([x for (x,) in inputs]))


def test_a_large_network_is_corrected_on_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    net, _ = network()
    assert samples_for(net, (8, 8), 512) == 512
    assert samples_for(net, (2, 8), 512) == corrections.FEW
    macs = sum(layer.macs for layer in net.space.layers)
    monkeypatch.setattr(corrections, "MACS", {3: 70 * macs, 4: 20 * macs, 8: macs})
    assert [samples_for(net, (b, b), 512) for b in WIDTHS] == [70, 20, corrections.LEAST_SAMPLES]
    assert [samples_for(net, pair, 512) for pair in ((2, 8), (8, 2), (4, 8))] == [20, 20, 20]
    assert samples_for(net, (4, 4), 3) == 3


def test_every_batch_has_its_share_of_the_samples() -> None:
    batches = list(torch.split(torch.arange(10), 4))
    assert [part.tolist() for part in spread(batches, 5)] == [[0, 1], [4, 5], [8]]
    assert [part.tolist() for part in spread(batches, 2)] == [[4], [8]]
    assert torch.equal(torch.cat(spread(batches, 10)), torch.arange(10))
    inputs = [(x, -x) for x in batches]
    assert [[part.tolist() for part in both] for both in some_of(inputs, 2)] == [[[4], [-4]], [[8], [-8]]]


@torch.no_grad()
def test_corrections_on_some_samples_compare_these_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "MACS", {8: 1})
    monkeypatch.setattr(corrections, "LEAST_SAMPLES", 6)
    net, inputs = network()
    all_of_it, few = copy.deepcopy(net), copy.deepcopy(net)
    calibrate(few, [x for (x,) in inputs], equalize=False)
    found = set_ranges(all_of_it, inputs, Ranges(all_of_it, "mse"), counts=[6])[6]
    correct(all_of_it, some_of(inputs, 6), found, like_pairs(net), lambda: None)
    for name in net.layers:
        assert torch.equal(few.layer(name).correction, all_of_it.layer(name).correction)
        assert torch.equal(few.layer(name).gain, all_of_it.layer(name).gain)


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e4])
@pytest.mark.parametrize("axis", [1, -1])
def test_moments_have_the_precision_of_float64(offset: float, axis: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(n, 6, 40, 6, generator=generator) + offset for n in (3, 2)]
    if axis == -1:
        values = [value.flatten(1, 2) for value in values]
    found = moments(values, axis)
    rows = torch.cat([value.double().movedim(axis, -1).flatten(0, -2) for value in values])
    torch.testing.assert_close(found.mean, rows.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.variance, rows.var(0, correction=0), rtol=1e-4, atol=0)
