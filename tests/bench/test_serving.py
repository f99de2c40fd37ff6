"""The page of the native engine shows what was measured; the parts run on a small scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.common import Check
from bench.energy import counters, millijoules
from bench.engine import checks
from bench.markdown import block
from bench.serving import page
from bench.serving.common import ratios, turns
from bench.serving.requantize import HI, LO, baselines


def test_the_committed_page_is_what_the_committed_results_give() -> None:
    found = block(page.MARK).search(page.PAGE.read_text())
    assert found is not None
    assert found[0] == page.text(), "run: python -m bench.serving.page"


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


def zone(folder: Path, name: str, energy: int) -> Path:
    folder.mkdir(parents=True)
    for file, content in {"name": name, "max_energy_range_uj": "99999", "energy_uj": str(energy)}.items():
        (folder / file).write_text(f"{content}\n")
    return folder


def test_energy_is_that_of_every_package_and_of_one_call(tmp_path: Path) -> None:
    first, second = (
        zone(tmp_path / "intel-rapl:0", "package-0", 5_000),
        zone(tmp_path / "intel-rapl:1", "package-1", 98_000),
    )
    zone(tmp_path / "intel-rapl:0:0", "core", 1)
    (tmp_path / "intel-rapl:2").mkdir()
    packages = counters(tmp_path)
    assert [each.path for each in packages] == [first, second]

    def call() -> None:  # 2,000 microjoules on the first, 4,000 on the second, whose counter starts again
        (first / "energy_uj").write_text("7000\n")
        (second / "energy_uj").write_text("2000\n")

    assert millijoules(call, 0.0, packages) == 6.0


def test_a_machine_without_counters_of_energy(tmp_path: Path) -> None:
    assert counters(tmp_path / "none") == []
    assert millijoules(lambda: None, 0.0, []) is None
