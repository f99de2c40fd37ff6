"""The search: exact against brute force, within its budgets to the last operation, clear about what it cannot do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dqt
from dqt.arith.cost import cost, full_bitops
from dqt.arith.plan import Layer, Plan, PlanError, Space, uniform
from dqt.nn.errors import CalibrationError
from dqt.nn.net import InputError, Net
from dqt.train.formats import DataError
from dqt.train.search import Sensitivity, _best, measure, search, sensitivity, solve

from .conftest import tiny_data
from .conftest import tiny_net as new_net


def tiny_net(**options: Any) -> Net:
    """Calibrated, as a search needs it."""
    return dqt.calibrate(new_net(**options), tiny_data()[0])


@pytest.fixture
def net() -> Net:
    return tiny_net()


WIDTHS = (2, 3, 4, 8)


class Holder:
    """Something with a space."""

    def __init__(self, space: Space) -> None:
        self.space = space


def space_of(seed: int, layers: int = 5) -> Space:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 1000, (layers, 2))
    made = [
        Layer(f"l{i}", int(macs), int(weights), 1, 1, i in (0, layers - 1)) for i, (macs, weights) in enumerate(counts)
    ]
    return Space(8, WIDTHS, 8, tuple(made))


def measured_on(space: Space, seed: int) -> Sensitivity:
    rng = np.random.default_rng(seed + 100)
    loss = np.sort(rng.exponential(size=(len(space.layers), len(WIDTHS))) ** 3)[:, ::-1]
    return Sensitivity(space.names, WIDTHS, 8, tuple(map(tuple, loss.tolist())), 0.1, "cross entropy", 10)


def brute_force(measured: Sensitivity, space: Space, allowed: Callable[[Plan], bool], *, edges: bool) -> float:
    best = np.inf
    options = [(8,) if layer.edge and not edges else WIDTHS for layer in space.layers]
    for widths in product(*options):
        if allowed(Plan.of(dict(zip(space.names, widths, strict=True)))):
            best = min(best, total(measured, widths))
    return float(best)


def total(measured: Sensitivity, widths: Any) -> float:
    return sum(row[WIDTHS.index(b)] for row, b in zip(measured.increase, widths, strict=True))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("edges", [False, True])
def test_the_plan_is_the_best_of_all(seed: int, edges: bool) -> None:
    space = space_of(seed)
    measured, holder = measured_on(space, seed), Holder(space)
    least = cost(holder, uniform(space, 2)).share
    share = least + (1 - least) * (seed + 1) / 14
    plan = solve(measured, space, bitops=share, edges=edges)
    assert cost(holder, plan).share <= share
    best = brute_force(measured, space, lambda p: cost(holder, p).share <= share, edges=edges)
    assert total(measured, [plan[name][0] for name in space.names]) == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_two_budgets_hold_together(seed: int) -> None:
    space = space_of(seed)
    measured, holder = measured_on(space, seed), Holder(space)
    share, size = 0.7, 0.75
    byte_limit = size * sum(layer.weights for layer in space.layers)

    def allowed(plan: Plan) -> bool:
        paid = cost(holder, plan)
        return paid.share <= share and paid.read_bytes <= byte_limit

    plan = solve(measured, space, bitops=share, size=size, edges=True)
    assert allowed(plan)
    best = brute_force(measured, space, allowed, edges=True)
    assert total(measured, [plan[name][0] for name in space.names]) == pytest.approx(best, rel=1e-9)


def test_a_larger_budget_never_loses_more() -> None:
    space = space_of(3, layers=12)
    measured = measured_on(space, 3)
    lost = []
    for share in np.linspace(0.4, 1.0, 13):
        plan = solve(measured, space, bitops=float(share))
        lost.append(total(measured, [plan[name][0] for name in space.names]))
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] == pytest.approx(total(measured, [8] * 12))


def test_counts_and_fractions_mean_the_same() -> None:
    space = space_of(1)
    measured = measured_on(space, 1)
    share = cost(Holder(space), 3).share
    count = round(share * full_bitops(space))
    assert solve(measured, space, bitops=share) == solve(measured, space, bitops=count)


@pytest.mark.parametrize("b", WIDTHS)
def test_the_cost_of_a_uniform_plan_is_budget_enough_for_it(b: int) -> None:
    """Only that plan has no loss; its own share, a rounded quotient, must still admit it."""
    for seed in range(20):
        space = space_of(seed)
        rows = tuple(tuple(float(width != b) for width in WIDTHS) for _ in space.layers)
        measured = Sensitivity(space.names, WIDTHS, 8, rows, 0.0, "divergence", 1)
        assert solve(measured, space, bitops=cost(Holder(space), b).share) == uniform(space, b)


def test_large_networks_stay_within_the_budget_to_one_operation() -> None:
    layers = tuple(Layer(f"l{i}", 10**9 + i, 10**6 + i, 1, 1) for i in range(60))
    space = Space(8, WIDTHS, 8, layers)
    measured = measured_on(space, 5)
    plan = solve(measured, space, bitops=0.25, size=0.5)
    assert cost(Holder(space), plan).bitops <= 0.25 * full_bitops(space)
    assert cost(Holder(space), plan).read_bytes <= 0.5 * sum(layer.weights for layer in layers)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({}, "no budget"),
        ({"bitops": 0.0}, "bitops 0.0: need a fraction"),
        ({"bitops": float("nan")}, "bitops nan"),
        ({"size": -2}, "size -2"),
        ({"bitops": 0.01}, r"the least that a plan can take is [\d,]+ \(0\.\d{4} of the master's\).*edges"),
        ({"size": 2}, r"a budget of 16 bits of weights: the least that a plan can take"),
    ],
)
def test_a_budget_that_cannot_be_is_an_error(budget: dict[str, Any], message: str) -> None:
    space = space_of(0)
    with pytest.raises(PlanError, match=message):
        solve(measured_on(space, 0), space, **budget)


def test_a_sensitivity_of_another_network_is_an_error() -> None:
    with pytest.raises(PlanError, match="measured on another network"):
        solve(measured_on(space_of(0), 0), space_of(0, layers=4), bitops=0.9)


def test_a_sensitivity_survives_its_file(tmp_path: Path) -> None:
    measured = measured_on(space_of(2), 2)
    measured.save(tmp_path / "s.json")
    assert Sensitivity.load(tmp_path / "s.json") == measured


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "dqt-plan", "version": 1}', "\x00", '{"format": 3'])
def test_another_file_is_no_sensitivity(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(PlanError, match=r"s\.json: not a sensitivity"):
        Sensitivity.load(tmp_path / "s.json")


# measuring on a network


def test_each_entry_is_the_loss_of_that_layer_alone(net: Net) -> None:
    net.ready.fill_(True)
    net.train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    x, y = tiny_data(24)
    measured = sensitivity(net, [(x[:16], y[:16]), (x[16:], y[16:])])
    assert net.training
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in state.items())
    assert (measured.layers, measured.widths) == (net.layers, net.space.widths)
    assert (measured.samples, measured.objective) == (24, "cross entropy")
    net.eval()
    with torch.no_grad():
        base = torch.nn.functional.cross_entropy(net(x).double(), y)
        plan = dict.fromkeys(net.layers, 8) | {"conv": 2}
        lost = torch.nn.functional.cross_entropy(net(x, plan).double(), y)
    assert measured.base == pytest.approx(float(base), rel=1e-5)
    found = measured.increase[net.layers.index("conv")][net.space.widths.index(2)]
    assert found == pytest.approx(float(lost - base), rel=1e-4)
    assert all(row[-1] == 0 for row in measured.increase)


def test_without_labels_the_master_is_the_reference(net: Net) -> None:
    x, _ = tiny_data(24)
    measured = sensitivity(net, x)
    assert (measured.objective, measured.base) == ("divergence", 0.0)
    assert all(value >= 0 for row in measured.increase for value in row)
    assert measured == sensitivity(net, iter([x]))
    assert measured == sensitivity(net, [x], progress=True)


def test_search_on_a_network_meets_its_budget(net: Net) -> None:
    x, y = tiny_data(24)
    plan = dqt.search(net, [(x, y)], bitops=0.5, edges=True)
    assert cost(net, plan).share <= 0.5
    assert search(net, [(x, y)], bitops=1.0) == uniform(net.space, 8) or cost(net, plan).share < 1


def test_the_plan_never_measures_worse_than_a_uniform_width_that_fits() -> None:
    for seed in range(6):
        net = tiny_net(widths=(2, 3, 4, 8), seed=seed)
        x, _ = tiny_data(48, seed)
        for b in (2, 3, 4):
            plan = search(net, [x], bitops=cost(net, b).share)
            assert cost(net, plan).share <= cost(net, b).share
            losses, kind, samples = measure(net, [x], [plan, uniform(net.space, b)])
            assert losses[0] <= losses[1]
            assert (kind, samples) == ("divergence", 48)


def test_a_uniform_plan_that_measures_better_is_the_plan(caplog: pytest.LogCaptureFixture) -> None:
    """The solver adds up what layers lose alone, which can be far from what they lose together; measuring decides."""
    net = tiny_net(widths=(2, 3, 4, 8))
    x, y = tiny_data(48)
    plans = [uniform(net.space, 2), uniform(net.space, 8), Plan.of(dict.fromkeys(net.layers, 2))]
    losses = measure(net, [(x, y)], plans)[0]
    best, worst = plans[int(losses.argmin())], plans[int(losses.argmax())]
    with caplog.at_level(logging.INFO, "dqt.train"):
        assert _best(net, [(x, y)], [best], [worst]) == best
        assert "a uniform width measures better than the solved plans" in caplog.text
        caplog.clear()
        for plain, solved in (([worst], [best]), ([best, worst], [best]), ([], [best])):
            assert _best(net, [(x, y)], plain, solved) == best
        assert not caplog.text


def test_with_edges_one_width_for_all_layers_is_a_candidate() -> None:
    for seed in range(3):
        net = tiny_net(widths=(2, 3, 4, 8), seed=seed)
        x, _ = tiny_data(48, seed)
        flat = Plan.of(dict.fromkeys(net.layers, 3))
        plan = search(net, [x], bitops=cost(net, flat).share, edges=True)
        losses, _, _ = measure(net, [x], [plan, flat])
        assert losses[0] <= losses[1]
        assert cost(net, plan).share <= cost(net, flat).share


def test_a_sensitivity_may_be_measured_around_any_width(net: Net) -> None:
    x, y = tiny_data(24)
    measured = sensitivity(net, [(x, y)], around=4)
    assert measured.around == 4
    assert measured.increase[net.layers.index("conv")][net.space.widths.index(4)] == 0
    found, _, _ = measure(net, [(x, y)], [uniform(net.space, 4), Plan.of({**uniform(net.space, 4), "conv": 2})])
    assert measured.base == found[0]
    assert measured.increase[net.layers.index("conv")][net.space.widths.index(2)] == found[1] - found[0]
    with pytest.raises(PlanError, match="width 7"):
        sensitivity(net, [(x, y)], around=7)


def test_edges_stay_where_they_are_unless_asked(net: Net) -> None:
    x, _ = tiny_data(24)
    plan = search(net, [x], bitops=cost(net, 2).share)
    assert plan == uniform(net.space, 2)


X, Y = tiny_data(4)


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([], DataError, "no data"),
        ([(X, Y), X], DataError, "some batches have labels"),
        ([(X, Y, Y)], DataError, "a batch of 3 items"),
        ([(X, Y[:3])], DataError, r"labels of dtype int64, shape \[3\]"),
        ([(X, Y.float())], DataError, "labels of dtype float32"),
        ([(X, Y + 1)], DataError, "3 of sample 2 is not a class: need 0 to 2"),
        ([X * float("nan")], DataError, "NaN"),
        ([X[:, :, :5]], InputError, "shape"),
        ([X.int()], InputError, "floating-point"),
    ],
)
def test_bad_batches_are_errors(batches: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        search(tiny_net(), batches, bitops=0.9)


def test_a_bad_budget_is_seen_before_anything_is_measured() -> None:
    data = iter([X])
    with pytest.raises(PlanError, match="the least"):
        search(tiny_net(), data, bitops=1e-6)
    assert next(data) is X


def test_what_is_not_calibrated_and_what_is_no_data_is_one_clear_error() -> None:
    with pytest.raises(CalibrationError, match=r"run dqt\.calibrate"):
        search(new_net(), [tiny_data()], bitops=0.5)
    net = tiny_net()
    for data in (None, 5):
        with pytest.raises(DataError, match="pass a series of inputs"):
            search(net, data, bitops=0.5)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="bitops must be a number, not 'half'"):
        search(net, [tiny_data()], bitops="half")  # type: ignore[arg-type]
