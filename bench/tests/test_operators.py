"""The experiments on the operators, on a few values each; their page is what their record gives."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from bench.common import RESULTS
from bench.operators import ablation, errors, shifts
from dqt.arith.nested import narrow_weight


def test_what_is_exact_has_no_mismatch() -> None:
    for fact in shifts.exact():
        assert fact["cases"] > 0
        assert fact["mismatches"] == 0, fact["fact"]


def test_a_wrong_code_would_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shifts, "code_floor", lambda q, n, b: (q + 1) >> (n - b))
    assert sum(mismatches for _, mismatches in shifts.against_floor()) > 0


def test_the_shift_costs_a_quarter_more_at_7_bits_and_less_and_less_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shifts, "VALUES", 1 << 12)
    rows = shifts.costs("weights", "uniform")["widths"]
    assert rows["7"]["shift"]["mean"] == pytest.approx(0.3125, abs=0.01)  # levels off by 1/4
    assert rows["2"]["shift"]["mean"] == pytest.approx(0.25, abs=0.01)
    for row in rows.values():
        assert row["free"]["rms"] <= row["anew"]["rms"]


@pytest.mark.parametrize(("name", "b"), list(product(errors.OPERATORS, (8, 4, 2))))
def test_every_operator_is_within_its_bound(name: str, b: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "DRAWS", 20)
    found = errors.distribution(name, b)
    assert found["percentiles"]["95"] > 0.4  # the rounding is there
    assert 0.9 < found["largest_share_of_bound"] <= 1
    assert found == errors.distribution(name, b)


def test_a_bound_that_is_broken_is_a_target_that_is_missed() -> None:
    row = {"largest_share_of_bound": 1.001}
    (check,) = errors.checks({"add": {"8": row}})
    assert not check.met


def test_saturation_is_a_shift_and_a_clamp() -> None:
    q = torch.arange(-128, 128, dtype=torch.int16).view(1, -1, 1, 1)  # one output channel, 256 input channels
    plain = ablation.shifted(q, 3)
    assert torch.equal(plain, narrow_weight(q, 8, 3, ablation.midpoints(3, q)))
    half = ablation.shifted(q, 3, 1)
    assert len(set(half.flatten().tolist())) == 2 * 2**3  # 8 codes, two midpoints
    inside = q.abs() < 64
    assert torch.equal(half[inside], narrow_weight(q, 8, 4, ablation.midpoints(4, q))[inside])
    assert int(half.min()) >= -64
    assert int(half.max()) <= 63


def test_saturation_is_chosen_where_it_has_the_smaller_error() -> None:
    weight = torch.randn(4, 16, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    weight[:, 0, 0, 0] = 1.0  # one outlier a channel
    step = weight.flatten(1).abs().amax(1) / 127.5
    master = ablation.Master((weight / ablation.per_channel(step, weight)).round().clip(-128, 127).short(), step)
    found = {
        e: float(ablation.error(master.real(ablation.shifted(master.codes, 2, e)), weight).sum())
        for e in ablation.SATURATION
    }
    assert ablation.saturation(master, weight, 2) == min(found, key=found.__getitem__) > 0
    assert ablation.saturation(master, weight, 8) == 0


@pytest.mark.parametrize("b", [2, 4])
def test_a_free_step_has_the_smallest_error(b: int) -> None:
    weight = torch.randn(4, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    real = ablation.free(weight, b)
    assert all(len(set(channel.flatten().tolist())) <= 2**b for channel in real)
    step = weight.flatten(1).abs().amax(1) / 127.5
    master = ablation.Master((weight / ablation.per_channel(step, weight)).round().clip(-128, 127).short(), step)
    for e in (0, 1, 2):
        shifted = master.real(ablation.shifted(master.codes, b, e))
        assert bool((ablation.error(real, weight) <= ablation.error(shifted, weight)).all())


def test_statistics_are_those_of_the_new_weights() -> None:
    from torch import nn

    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2)).eval()
    x = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    made: Any = ablation.with_weights(model, {"0": torch.full((2, 1, 1, 1), 3.0)}, [x[:4], x[4:]])
    torch.testing.assert_close(made[1].running_mean, torch.full((2,), 3 * float(x.mean())))
    assert not made.training
    assert float(model[1].running_mean[0]) == 0  # type: ignore[index]


def test_the_recorded_counts_and_layers_add_up() -> None:
    results = json.loads((RESULTS / "operators.json").read_text())["results"]
    for row in results["ablation"]["widths"].values():
        assert {sum(way["layers_by_e"]) for way in row.values() if "layers_by_e" in way} == {18}
        assert row["free"]["relative_squared_error"] <= row["shift, mse"]["relative_squared_error"]
    for widths in results["integer"].values():
        assert np.all([row["largest_share_of_bound"] <= 1 for row in widths.values()])
