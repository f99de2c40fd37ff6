"""``dqt bench``: rows for people and for machines, and errors of one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import dqt
from dqt.cli.bench import _not_faster
from dqt.runtime.bench import Spread, Step
from dqt.runtime.runtime import kernel_sets

from .conftest import Call


@pytest.fixture(autouse=True)
def _here(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


def test_rows_for_machines(call: Call) -> None:
    isa = kernel_sets()[-1]
    words = ("--bits", "8,2,auto", "--batch", "1,3", "--seconds", "0.01", "--isa", isa, "--inputs", "x.npy", "--json")
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    data = call("bench", "net.dqt", *words).json
    assert [(row["engine"], row["bits"], row["batch"]) for row in data["rows"]] == [
        ("dqt", bits, batch) for batch in (1, 3) for bits in ("8", "2", "auto")
    ]
    assert (data["isa"], data["threads"], data["agreement"]) == (isa, 1, [])
    assert all(row["ms"]["median"] > 0 and row["ratio"]["median"] > 0 for row in data["rows"])
    assert [(step["bits"], step["wider"], step["batch"]) for step in data["steps"]] == [(2, 8, 1), (2, 8, 3)]
    if before is not None:
        assert len(data["cores"]) == 1
        assert os.sched_getaffinity(0) == before


def test_plans_and_cascades_are_timed_beside_widths(call: Call, tmp_path: Path) -> None:
    plan, cascade = tmp_path / "p.json", tmp_path / "c.json"
    dqt.Plan.of(dict.fromkeys(dqt.Program.load("net.dqt").layers, 4)).save(plan)
    dqt.Cascade((2, 8), (100,)).save(cascade)
    given = ("--plan", plan, "--plan", cascade, "--inputs", "x.npy", "--seconds", "0", "--json")
    data = call("bench", "net.dqt", "--bits", "8", *given).json
    assert [row["bits"] for row in data["rows"]] == ["8", f"plan {plan}", f"cascade {cascade}"]
    alone = call("bench", "net.dqt", *given).json
    assert [row["bits"] for row in alone["rows"]] == [f"plan {plan}", f"cascade {cascade}"]
    done = call("bench", "net.dqt", "--layers", "--plan", cascade)
    assert (done.code, done.out) == (1, "")
    assert "a cascade is several runs: profile each of its widths" in done.err
    shown = call("bench", "net.dqt", "--layers", "--plan", plan, "--seconds", "0")
    assert f"plan {plan}, batch 1" in shown.out


def test_a_table_for_people(call: Call) -> None:
    done = call("bench", "net.dqt", "--seconds", "0.01")
    assert done.code == 0, done.err
    for part in ("median ms", "images/s", "time / dqt at 8", "auto", "1 thread"):
        assert part in done.out


def test_layers_for_machines(call: Call) -> None:
    words = ("--layers", "--bits", "8,auto", "--batch", "1,3", "--seconds", "0", "--inputs", "x.npy", "--json")
    data = call("bench", "net.dqt", *words).json
    assert [(each["bits"], each["batch"]) for each in data["profiles"]] == [
        (bits, batch) for batch in (1, 3) for bits in ("8", "auto")
    ]
    assert data["peak"] > 0
    fixed, auto = data["profiles"][:2]
    kernels = {row["kernel"] for row in fixed["layers"] if row["macs"]}
    assert kernels <= {"block", "depthwise", "winograd2x2", "winograd4x4"}
    assert all((row["of_peak"] is None) == (row["macs"] == 0) == (row["kernel"] == "") for row in fixed["layers"])
    assert sum(row["of_run"] for row in fixed["layers"]) == pytest.approx(1, abs=0.01)
    assert "Choose" in {row["op"] for row in auto["layers"]} - {row["op"] for row in fixed["layers"]}
    listed = {
        (row["op"], row["name"]): row["macs"] for row in call("inspect", "net.dqt", "--json").json["instructions"]
    }
    for row in data["profiles"][2]["layers"]:
        assert row["macs"] == 3 * (listed[row["op"], row["name"]] or 0)


def test_layers_for_people(call: Call) -> None:
    done = call("bench", "net.dqt", "--layers", "--bits", "8", "--seconds", "0")
    assert done.code == 0, done.err
    for part in ("8 bits, batch 1", "kernel", "of the peak", "block", "peak: "):
        assert part in done.out


def test_beside_a_peer(call: Call) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    data = call("bench", "net.dqt", "--bits", "8", "--seconds", "0.01", "--against", "onnxruntime", "--json").json
    assert [row["engine"] for row in data["rows"]] == ["dqt", "onnxruntime"]
    (one,) = data["agreement"]
    assert one["top1"] >= 0.8
    assert one["difference"] < 0.1


def test_a_width_that_gains_nothing_is_told() -> None:
    slower, equal = Spread(10, 1.02, 1.01, 1.03), Spread(10, 1.0, 0.99, 1.02)
    assert _not_faster(Step(3, 4, 1, slower, "no"), several=False) == (
        "3 bits: not faster than 4 (1.02x its time, 1.01 - 1.03)"
    )
    assert _not_faster(Step(3, 4, 8, equal, "within the noise"), several=True) == (
        "3 bits, batch 8: as fast as 4, within the noise (1.00x its time, 0.99 - 1.02)"
    )


@pytest.mark.parametrize(
    ("words", "part", "code"),
    [
        (("--bits", "eight"), "--bits 'eight': need widths or auto", 1),
        (("--bits", "5"), "5", 1),
        (("--batch", "0"), "'0' is not a number of samples", 2),
        (("--isa", "mmx"), "isa 'mmx': this processor runs", 1),
        (("--against", "tvm"), "no engine is called 'tvm'", 1),
        (("--threads", "0"), "--threads", 2),
        (("--layers", "--against", "litert"), "--layers times dqt alone", 2),
    ],
)
def test_what_cannot_be_is_said(call: Call, words: tuple[str, ...], part: str, code: int) -> None:
    done = call("bench", "net.dqt", *words)
    assert (done.code, done.out) == (code, "")
    assert part in done.err
    assert len(done.err.splitlines()) <= 2


def test_a_missing_package_says_what_to_install(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    done = call("bench", "net.dqt", "--against", "openvino", "--seconds", "0")
    assert done.code == 1
    assert "pip install openvino" in done.err
