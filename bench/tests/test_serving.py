"""The parts of the engine's measurements run on a small scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.common import Check
from bench.engine import checks
from bench.serving.common import ratios, turns
from bench.serving.requantize import HI, LO, baselines


def test_calls_take_turns() -> None:
    order: list[str] = []
    found = turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.0)
    assert {label: len(values) for label, values in found.items()} == {"a": 5, "b": 5}
    assert order == (["a"] * 6 + ["b"] * 6) * 5
    assert ratios([2.0, 3.0], [1.0, 2.0]) == [2.0, 1.5]


def test_latency_has_targets_by_network_and_width() -> None:
    entry = {"dqt at 4 / dqt at 8": 0.8, "dqt at 2 / dqt at 8": 0.6, "dqt at 8 / fastest peer": 0.9}
    found: dict[str, Any] = {
        name: {"medians": {"1": entry}, "agreement": []} for name in ("resnet18", "resnet50", "mobilenet_v2")
    }
    met = {check.what: check.met for check in checks(found)}
    assert not met["resnet18, batch 1, time at 4 bits over that at 8"]
    assert met["resnet50, batch 1, time at 4 bits over that at 8"]
    assert met["resnet18, batch 1, time at 8 bits over the fastest peer's"]
    assert not met["mobilenet_v2, batch 1, time at 8 bits over the fastest peer's"]
    assert isinstance(checks(found)[0], Check)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_ways_to_requantize_change_every_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch").compile  # noqa: B018 - there since 2.0
    monkeypatch.setattr("torch.compile", lambda function, **_: function)
    weights = [np.arange(-128, 128, dtype=np.int8).reshape(2, 128)]
    for call in baselines(weights).values():
        call()
    assert (LO, HI) == (-8, 7)
    np.testing.assert_array_equal(weights[0].ravel(), np.arange(-128, 128))
