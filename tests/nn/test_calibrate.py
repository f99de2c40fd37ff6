"""Ranges from data, and biases that give every layer the float model's mean at every width."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dqt.arith.errors import InputError
from dqt.arith.plan import Pair
from dqt.lower.emit import lower
from dqt.nn import refine
from dqt.nn.calibrate import calibrate, run_calibration, set_controller_ranges, set_ranges
from dqt.nn.config import Config
from dqt.nn.controller import NORM
from dqt.nn.controller_alone import controller_features
from dqt.nn.correct import LEAST, MOST
from dqt.nn.errors import CalibrationError, CalibrationWarning
from dqt.nn.graph import INPUT
from dqt.nn.layered import product
from dqt.nn.net import Net
from dqt.nn.prepare import prepare
from dqt.nn.ranges import Quantizer
from dqt.nn.run import Run
from dqt.nn.set_range import Ranges
from dqt.nn.walk import Moments, axis_of, moments
from dqt.program.interpret import execute, interpret
from dqt.program.layered import Layered
from dqt.runtime import Runtime
from dqt.testing.networks import conv, head, ready, small, with_controller


def images() -> Tensor:
    return torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(4))


@cache
def prepared(config: Config) -> Net:
    return prepare(small(), images()[:2], config).eval()


def net_and_data(**options: Any) -> tuple[Net, Tensor]:
    """A copy of the network, which is prepared once for each configuration."""
    net = copy.deepcopy(prepared(Config(**options)))
    torch.manual_seed(0)  # as if it had been prepared now
    return net, images()


@torch.no_grad()
def layer_moments(net: Net, x: Tensor, pair: Pair) -> dict[str, Moments]:
    """Mean and variance of every layer's output before its batch norm, at one pair of widths for the whole network."""
    edge = (net.space.edge_width,) * 2
    run = Run({layer.name: edge if layer.edge else pair for layer in net.space.layers})
    values, means = net.read(x, run), dict[str, Moments]()
    for node in net.nodes:
        ins = [values[name] for name in node.ins]
        if node.layer:
            means[node.layer] = moments([product(net.layer(node.layer), None, ins[0], pair, False)], axis_of(node))
        values[node.out] = net.fake_node(node, ins, run)
    return means


def test_corrections_give_every_layer_the_float_mean_and_deviation() -> None:
    net, x = net_and_data()
    calibrate(net, [x])
    expected = set_ranges(net, [x], Ranges(net, "mse"), counts=[8])[8]
    calibrate(net, [x])
    for b in net.config.widths:
        for name, got in layer_moments(net, x, (b, b)).items():
            torch.testing.assert_close(got.mean, expected[name].mean, rtol=1e-4, atol=1e-5)
            gain = net.layer(name).gain[net.config.widths.index(b)]
            sound = (gain > LEAST) & (gain < MOST)
            torch.testing.assert_close(got.variance[sound], expected[name].variance[sound], rtol=1e-3, atol=1e-5)
            assert sound.float().mean() > 0.3
    plain = calibrate(net_and_data()[0], [x], correct_bias=False)
    off = [(got.mean - expected[name].mean).abs().max() for name, got in layer_moments(plain, x, (2, 2)).items()]
    assert max(off) > 1e-3
    for name in plain.layers:
        assert (plain.layer(name).correction == 0).all()
        assert (plain.layer(name).gain == 1).all()
        assert plain.layer(name).corrected_pairs == tuple((b, b) for b in plain.config.widths)


@pytest.mark.parametrize("method", ["fast", "best"])
def test_unlike_widths_have_the_float_mean_and_deviation_too(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine, "MOST_STEPS", 20)
    net, x = net_and_data(widths=(2, 4, 8))
    calibrate(net, [x], method=method)
    plain = net_and_data(widths=(2, 4, 8))[0]  # the float model, which `best` has moved the weights of
    expected = set_ranges(plain, [x], Ranges(plain, "mse"), counts=[8])[8]
    for pair in ((2, 8), (4, 8), (8, 2), (8, 4)):
        for name, got in layer_moments(net, x, pair).items():
            layer = net.layer(name)
            assert pair in layer.corrected_pairs
            torch.testing.assert_close(got.mean, expected[name].mean, rtol=1e-4, atol=1e-5)
            gain = layer.gain_at(pair)
            sound = (gain > LEAST) & (gain < MOST)
            torch.testing.assert_close(got.variance[sound], expected[name].variance[sound], rtol=1e-3, atol=1e-5)
    without = calibrate(net_and_data(widths=(2, 4, 8))[0], [x], method=method, unlike_widths=False)
    assert [len(op.m) for op in lower(net).ops if isinstance(op, Layered)] == [7] * len(net.layers)
    assert [len(op.m) for op in lower(without).ops if isinstance(op, Layered)] == [3] * len(net.layers)
    for name in net.layers:  # what a width has for both is the same with and without
        assert torch.equal(net.layer(name).correction, without.layer(name).correction)
        assert torch.equal(net.layer(name).gain, without.layer(name).gain)


def test_a_state_dict_without_unlike_widths_is_read_as_before() -> None:
    net, x = net_and_data(widths=(2, 8))
    calibrate(net, [x], unlike_widths=False)
    state = {name: value for name, value in net.state_dict().items() if ".unlike_" not in name}
    other = calibrate(net_and_data(widths=(2, 8))[0], [x])
    other.load_state_dict(state)
    for plan in (2, mixed(net, (2, 8)), mixed(net, (8, 2))):
        assert torch.equal(net(x, plan, exact=True), other(x, plan, exact=True))


def mixed(net: Net, pair: Pair) -> dict[str, Pair]:
    """Every layer at ``pair``."""
    return dict.fromkeys(net.space.names, pair)


@pytest.mark.parametrize("observer", ["mse", "percentile", "max"])
def test_observers_give_sensible_clips(observer: Any) -> None:
    net, x = net_and_data()
    calibrate(net, [x], observer=observer)
    largest = {name: clip.clone() for name, clip in calibrate(net_and_data()[0], [x], observer="max").clips().items()}
    for name, clip in net.clips().items():
        assert (clip <= largest[name] * (1 + 1e-6)).all()
        assert (clip >= 0.1 * largest[name]).all()
    assert float(largest[INPUT]) == float(x.abs().max())


def test_the_input_is_observed_at_the_width_that_reads_it() -> None:
    x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    clips = {}
    for width in (8, 3):
        net = prepare(small(), x[:2], Config(edge_width=width)).eval()
        run_calibration(net, [x], training=True)  # one range for all
        clips[width] = float(net.clips()[INPUT])
        run_calibration(net, [x], ranges="per_width")
        assert float(net.clips()[INPUT]) > 0.8 * float(x.abs().max())
        assert net.layer("0").input_exponent(3) == 1
    assert clips[3] < 0.8 * clips[8]
    assert clips[8] > 0.9 * float(x.abs().max())


def test_a_lone_outlier_is_clipped() -> None:
    first = conv(1, 1, 1, bias=False)
    nn.init.ones_(first.weight)
    model = nn.Sequential(first, nn.ReLU(), conv(1, 2, 1))
    x = torch.rand(64, 1, 16, 16)
    x[0, 0, 0, 0] = 20.0
    net = prepare(model, x)
    for observer, least, most in (("max", 19.0, 21.0), ("percentile", 0.9, 1.2), ("mse", 0.9, 10.0)):
        with pytest.warns(CalibrationWarning, match="the input: 20 in batch 0, sample 0, channel 0"):
            calibrate(net, [x], observer=observer)  # type: ignore[arg-type]
        assert least < float(net.clips()["0"]) < most


@pytest.mark.parametrize("observer", ["mse", "percentile"])
@pytest.mark.parametrize("wild", [1000.0, -1000.0, 1e6, 1e30])
@pytest.mark.parametrize("samples", [1, 3])
def test_wild_values_in_the_input_cost_nothing(observer: Any, wild: float, samples: int) -> None:
    """Ranges, means and corrections are those of the data whose wild values are what they saturate to."""
    x = torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    spiked, saturated = x.clone(), x.clone()
    others = float(x.max())
    for i in range(samples):
        spiked[60 * i, 1, 2, 3] = wild * (1 + i)
        saturated[60 * i, 1, 2, 3] = others if wild > 0 else 0.0  # without it no value is negative, nor a code
    nets = [net_and_data(widths=(2, 3, 8))[0] for _ in range(2)]
    with pytest.warns(CalibrationWarning, match="the input: ") as said:
        calibrate(nets[0], torch.split(spiked, 64), observer=observer)
    assert len(said) == len(nets[0].findings) == 1  # what follows the input in the network saw nothing wild
    calibrate(nets[1], torch.split(saturated, 64), observer=observer)
    for name, value in nets[1].state_dict().items():
        if name != "quantizers.input.ratio":
            torch.testing.assert_close(nets[0].state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_the_clip_is_chosen_at_a_width_that_exists() -> None:
    """Midpoints of a width that the network lacks are not those of any of its weights."""
    few, x = net_and_data(widths=(2, 8))
    calibrate(few, [x])
    one, _ = net_and_data(widths=(8,))
    calibrate(one, [x], observer="mse")
    biggest = {name: one.layer(name)._largest() for name in one.layers}
    assert all((one.layer(name).clip > 0.9 * biggest[name]).all() for name in one.layers)
    error = (one(x) - one._run(x, Run({}, quantized=False), False)).norm() / one(x).norm()
    assert error < 0.05


def batches(x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for part in torch.split(x, 3):
        yield part, torch.zeros(len(part))


def test_any_iterable_of_batches_serves() -> None:
    x = images()
    labels = torch.zeros(8)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=3)
    results = []
    for batch in (batches(x), loader, list(torch.split(x, 3)), [x], x, [x.double()], [[x, labels]]):
        net = calibrate(net_and_data(widths=(2, 3, 8))[0], batch)
        results.append((torch.cat([clip.flatten() for clip in net.clips().values()]), net(x, 3, exact=True)))
    for clips, _ in results:
        torch.testing.assert_close(clips, results[0][0], rtol=1e-4, atol=1e-6)


def test_it_leaves_the_mode_and_the_parameters() -> None:
    net, x = net_and_data()
    before = {name: p.clone() for name, p in net.named_parameters() if "clip" not in name}
    calibrate(net.train(), [x])
    assert net.training
    assert all(torch.equal(p, dict(net.named_parameters())[name]) for name, p in before.items())
    assert net.calibrated
    assert not net_and_data()[0].calibrated


def test_twice_is_once() -> None:
    net, x = net_and_data(**with_controller())
    first = {key: value.clone() for key, value in calibrate(net, [x], equalize=False).state_dict().items()}
    calibrate(net, [x * 3], equalize=False)
    again = calibrate(net, [x], equalize=False).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], CalibrationError, "no calibration data"),
        (iter(()), CalibrationError, "no calibration data"),
        ([torch.full((2, 3, 8, 8), float("nan"))], CalibrationError, "batch 0 contains NaN"),
        ([torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), float("inf"))], CalibrationError, "batch 1 contains NaN"),
        ([torch.full((2, 3, 8, 8), 3e38)], CalibrationError, "activation .* is not finite"),
        ([torch.zeros(2, 4, 8, 8)], InputError, r"shape \(2, 4, 8, 8\): this network takes \(N, 3, 8, 8\)"),
        ([torch.zeros(3, 8, 8)], InputError, "takes"),
        ([torch.zeros(0, 3, 8, 8)], InputError, "N >= 1"),
        ([torch.zeros(2, 3, 8, 8, dtype=torch.int64)], InputError, "floating-point"),
        ([np.zeros((2, 3, 8, 8))], InputError, "type ndarray"),
        ([{"image": torch.zeros(2, 3, 8, 8)}], InputError, "unknown input 'image': this network takes 'input'"),
    ],
)
def test_data_that_cannot_serve(data: Any, error: type[Exception], message: str) -> None:
    net, _ = net_and_data()
    with pytest.raises(error, match=message):
        calibrate(net, data)
    assert not net.calibrated


def test_an_unknown_observer() -> None:
    with pytest.raises(CalibrationError, match="observer 'minmax': choose one of mse, percentile, max"):
        calibrate(net_and_data()[0], [torch.zeros(1, 3, 8, 8)], observer="minmax")  # type: ignore[arg-type]


def test_a_promise_about_the_input() -> None:
    x = torch.rand(2, 3, 8, 8)
    net = prepare(small(), x, Config(input_signed=False))
    with pytest.raises(CalibrationError, match="negative"):
        calibrate(net, [x - 1])


# batch norms that have seen no data


def fresh() -> nn.Sequential:
    """Random weights, large, and batch norms as torch makes them: after a layer, and before one."""
    torch.manual_seed(5)
    first = conv(3, 6, bias=False)
    with torch.no_grad():
        first.weight.mul_(10)
    rest = (nn.BatchNorm2d(6), conv(6, 6), nn.ReLU(), *head("linear", 6))
    return nn.Sequential(first, nn.BatchNorm2d(6), nn.ReLU(), *rest)


def test_a_norm_that_saw_no_data_gets_its_statistics_in_training_mode() -> None:
    """At every width those of the float model on all batches, as torch's own norms find them."""
    model, x = fresh(), torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(6)) + 0.5
    net = prepare(model, x[:2])
    run_calibration(net, [x[:8], x[8:]])
    norms = {path: each for path, each in model.named_modules() if isinstance(each, nn.BatchNorm2d)}
    for norm in norms.values():
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
        largest = float(model[:3](x).max())
    count = x.numel() / 3
    for path, theirs in norms.items():
        ours = net.norm(path)
        assert ours is not None
        for b in net.config.widths:
            torch.testing.assert_close(ours.set_of(b).running_mean, theirs.running_mean, rtol=1e-4, atol=1e-5)
            unbiased = ours.set_of(b).running_var * count / (count - 1)
            torch.testing.assert_close(unbiased, theirs.running_var, rtol=1e-4, atol=1e-5)
    assert net.training
    assert float(net.clips()["0"]) <= 1.00001 * largest < 10


def test_a_norm_keeps_what_it_has_seen_and_what_is_served() -> None:
    """In evaluation mode the statistics are a part of the function; those of a trained norm always stay."""
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(6))
    cases: tuple[tuple[nn.Module, bool], ...] = ((fresh(), False), (small(), True))
    for model, training in cases:
        net = prepare(model, x[:2]).train(training)
        before = {name: value.clone() for name, value in net.named_buffers() if "running" in name}
        run_calibration(net, [x])
        for name, value in net.named_buffers():
            if "running" in name:
                assert torch.equal(value, before[name])


def test_a_new_controller_gets_ranges_of_normalized_values() -> None:
    net, x = net_and_data(**with_controller())
    others = {name: each.clone() for name, each in net.state_dict().items() if not name.startswith("controller")}
    clips = {name: clip.clone() for name, clip in net.clips().items()}
    set_controller_ranges(net, [x])
    norm = net.norm(NORM)
    assert norm is not None
    (node,) = (node for node in net.nodes if node.norm == NORM)
    layer = net.layer(node.layer)
    hidden = layer.apply_weight(controller_features(net, x), layer.weight, layer.bias).detach()
    torch.testing.assert_close(norm.running_mean, hidden.mean(0), rtol=0.01, atol=1e-3)
    torch.testing.assert_close(norm.running_var, hidden.var(0, unbiased=False), rtol=0.02, atol=1e-4)
    largest = float(((hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + norm.eps).sqrt()).max())
    assert 0 < float(net.clips()[node.out]) <= largest * 1.05
    for name, each in others.items():
        if "quantizers" not in name:
            assert torch.equal(net.state_dict()[name], each), name
    moved = {name for name, clip in net.clips().items() if not torch.equal(clip, clips[name])}
    assert moved <= {each.out for each in net.nodes if each.controller}


# what has no range, or no life


def dead(kind: str) -> nn.Module:
    torch.manual_seed(0)
    first, norm, last = conv(3, 6, bias=False), nn.BatchNorm2d(6), nn.Linear(6, 5)
    with torch.no_grad():
        if kind == "channel":
            first.weight[2] = 0
        elif kind == "weights":
            first.weight.zero_()
        elif kind == "variance":
            assert norm.running_var is not None
            norm.running_var.zero_()
        elif kind == "relu":
            norm.bias.fill_(-1e4)
        elif kind == "gamma":
            norm.weight.zero_()
        elif kind == "tiny":
            first.weight.mul_(1e-25)
    return nn.Sequential(first, norm, nn.ReLU(), conv(6, 6), nn.ReLU(), *head("linear", 6)[:2], last)


@pytest.mark.parametrize("kind", ["channel", "weights", "variance", "relu", "gamma", "tiny"])
def test_dead_channels_and_layers(kind: str) -> None:
    net, x = ready(dead(kind), (3, 6, 6))
    program = lower(net)
    for b in (8, 3):
        served = program(x, b)
        assert np.isfinite(served).all()
        np.testing.assert_array_equal(served, net(x, b, exact=True).numpy())
        assert torch.isfinite(net(x, b)).all()


@pytest.mark.parametrize("value", [0.0, 1e-30, 0.7, 1e20])
def test_an_input_that_is_constant(value: float) -> None:
    x = torch.full((2, 3, 8, 8), value)
    net = prepare(small(), x).eval()
    with pytest.warns(CalibrationWarning, match=r"the input: calibration saw (only zeros|one value alone)"):
        calibrate(net, [x])
    np.testing.assert_array_equal(lower(net)(x, 4), net(x, 4, exact=True).numpy())


def test_an_edge_that_calibration_never_saw_alive() -> None:
    """A range of 1 stands in: a later input that wakes the channel saturates and does not divide by zero."""
    net, x = ready(dead("relu"), (3, 6, 6))
    assert float(net.clips()["0"]) == 1.0
    assert torch.isfinite(net(x * 1e6, 8, exact=True)).all()


def test_rows_that_stick_out_do_not_move_the_others() -> None:
    """The first token of every sample is a hundred times larger; an image has no such rows."""
    x = torch.randn(32, 6, 16, generator=torch.Generator().manual_seed(2))
    x[:, 0] *= 100.0
    usual, all_rows = moments([x[:, 1:]], -1), moments([x], 1)
    for unit in (None, torch.full((16,), 0.5)):
        found = moments([x[:20], x[20:]], -1, unit)
        torch.testing.assert_close(found.mean, usual.mean)
        torch.testing.assert_close(found.variance, usual.variance)
    assert float(all_rows.variance[0]) > 1000.0


class Blend(nn.Module):
    """Every position becomes a mean of all, whose shares hardly differ."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.value, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.key(x) @ x.transpose(1, 2)
        return self.head((scores * 0.05).softmax(-1) @ self.value(x))


def test_small_shares_of_a_softmax_have_all_codes_and_large_ones_saturate() -> None:
    torch.manual_seed(0)
    model, x = Blend(), torch.randn(6, 100, 6)
    net = calibrate(prepare(model, x[:2], Config(widths=(4, 8))).eval(), [x])
    (shares,) = (q for q in net.quantizers.values() if isinstance(q, Quantizer) and q.kind == "unit")
    one = int(shares.one)
    assert one > 10 * 255
    assert float(shares.scale()) == float(np.float32(1 / one))
    program = lower(net)
    sharp = torch.cat((x, 30 * x))  # peaks far above what was seen
    for b in (8, 4):
        expected = execute(program, sharp.numpy(), b).codes
        np.testing.assert_array_equal(Runtime(program).codes(sharp.numpy(), b), expected)
        assert torch.equal(net(sharp, b, exact=True), torch.from_numpy(interpret(program, sharp.numpy(), b)))
    with torch.no_grad():
        error = (net(x, exact=True) - model(x)).square().mean()
        shares.clip.fill_(1.0)
        assert error < 0.2 * (net(x, exact=True) - model(x)).square().mean()
