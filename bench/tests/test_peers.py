"""What the comparison with other engines counts, judges and prints."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dqt
from bench.pages import peers as page
from bench.peers import agreement, engines, networks, times
from bench.peers.checks import checks
from bench.peers.saturation import beyond, saturating
from bench.peers.times import turns
from dqt.export.qdq.model import qdq_model
from dqt.program.program import Program


def spread(median: float) -> dict[str, Any]:
    return {"count": 5, "median": median, "p10": median, "p90": median}


def row(ms: dict[str, float]) -> dict[str, Any]:
    widths = ("8", "6", "4", "3", "2")
    steps = {b: spread(ms[b] / ms[a]) for a, b in pairwise(widths)}
    of_8 = {name: spread(each / ms["8"]) for name, each in ms.items()}
    found = {"ms": {name: spread(each) for name, each in ms.items()}, "of_8": of_8, "of_wider": steps}
    return found | {"isa": "avx2", "clock": "processor", "load_average": 1.0, "forms": {}}


def results() -> dict[str, Any]:
    ours = {"8": 40.0, "6": 40.0, "4": 24.0, "3": 24.0, "2": 16.0}
    times = {"resnet50 1": row(ours | {"OpenVINO": 50.0, "LiteRT": 80.0})}
    same = {"same": 0.25, "difference": 1.0}
    agreed = {"weights": "random", "samples": 4, "dqt equals the interpreter": True, "dqt": same, "OpenVINO": same}
    agreed["saturating"] = {"share": 0.01, "worst_layer": 0.2}
    memory = {"resnet50": {"bytes": {"dqt": 40 << 20, "OpenVINO": 80 << 20, "LiteRT": 50 << 20}}}
    load = {"resnet50": {"ms": {"dqt": spread(50)}, "over": {"dqt": spread(1), "LiteRT": spread(0.6)}}}
    us = {"dqt": spread(100), "ONNX Runtime, blocks of 32": spread(200)}
    products = {
        bits: {"us": us, "over": {name: spread(100 / each["median"]) for name, each in us.items()}} for bits in "842"
    }
    return {
        "times": times, "agreement": {"resnet50": agreed}, "memory": memory, "load": load,
        "products": {"one row": products},
    }  # fmt: skip


def test_targets_are_those_of_the_kind_of_processor() -> None:
    found = {check.what: (check.value, check.met) for check in checks(results())}
    assert found == {
        "resnet50, batch 1, time at 8 bits over the fastest peer's": (0.8, True),
        "resnet50, batch 1, time at 6 bits over that at 8": (1.0, False),
        "resnet50, batch 1, time at 4 bits over that at 8": (0.6, True),
        "resnet50, batch 1, time at 2 bits over that at 8": (0.4, True),
        "resnet50, peak resident memory of a first run over the leanest peer's": (0.8, True),
        "resnet50, from file to first answer over the fastest peer": (0.6, False),
        "one row by 4096x4096 at 8 bits, time over the faster MatMulNBits": (0.5, True),
        "one row by 4096x4096 at 4 bits, time over the faster MatMulNBits": (0.5, True),
        "one row by 4096x4096 at 2 bits, time over the faster MatMulNBits": (0.5, True),
    }


def test_a_width_that_gains_nothing_is_marked() -> None:
    line = next(line for line in page.latency(results()).splitlines() if line.startswith("| ResNet-50"))
    assert line == "| ResNet-50 | 1 | 40 | 40 † | 24 | 24 † | 16 | 50 |  |  | 80 | 0.80 | 0.50 |"


def test_every_part_has_a_table() -> None:
    text = page.text(results())
    assert "| ResNet-50 | random | 4 | yes | 25.0% | 25.0% |  |  |  | 1.00% | 20.0% |" in text
    assert "| ResNet-50, MiB at the peak of loading and a first run | 40 | 80 |  |  | 50 |" in text
    assert "| MatMulNBits of ONNX Runtime, blocks of 32 | 200 | 200 | 200 |" in text


def test_a_sum_is_counted_where_one_pair_leaves_16_bits() -> None:
    rows = np.array([[255, 255, 0, 255, 255], [255, 0, 255, 0, 255]], dtype=np.int32)
    # 255 * 64 + 255 * 64 = 32640 fits, 255 * 65 + 255 * 64 = 32895 does not; the fifth channel is alone
    weights = np.array([[64, 64, 127, 0, 127], [65, 64, 127, 0, 127], [-64, -65, 1, 1, 1]], dtype=np.int32)
    assert beyond(rows, weights) == pytest.approx(2 / 6)


def test_the_example_saturates_somewhere_and_narrow_weights_nowhere() -> None:
    program = Program.load(dqt.example())
    x = np.random.default_rng(0).standard_normal((1, *program.input_shape)).astype(np.float32)
    found = saturating(program, x)
    assert 0 <= found["share"] <= found["worst_layer"] <= 1


def test_the_nearest_other_direction_counts() -> None:
    vectors = np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 5.0]])
    assert agreement.nearest(vectors).tolist() == [1, 0, 3, 2]
    assert agreement.compared(vectors, vectors, vector=True) == {"same": 1.0, "difference": 0.0}


def test_a_fixed_number_of_rounds() -> None:
    order: list[str] = []
    found = turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.0, lambda: 0.0, 2)
    assert {label: len(values) for label, values in found.items()} == {"a": 2, "b": 2}


class Gate(torch.nn.Module):
    """A convolution and a hard swish, of which LiteRT gets no form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.last(torch.nn.functional.hardswish(self.conv(x)).mean((2, 3)))
        return y


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")  # torch.onnx
def test_a_network_is_kept_timed_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnxruntime", "onnx", "onnxscript"):
        pytest.importorskip(package)
    samples = torch.randn(12, 3, 8, 8)
    made = {"gate": ("Gate", lambda _: networks.Case(Gate(), samples, trained=False))}
    monkeypatch.setattr(networks, "NETWORKS", made)
    kept = networks.files("gate", networks.Place(tmp_path, None, None))
    assert kept.inputs(100).shape == (12 - networks.KNOWN, 3, 8, 8)
    monkeypatch.setattr(times, "contestants", only_onnxruntime(times.contestants))
    found = times.measured(kept, 8, 0.0, "processor", 1)
    assert {"8", "6", "4", "3", "2", engines.ONNXRUNTIME, engines.EXACT} == set(found["ms"])
    monkeypatch.setattr(agreement, "contestants", times.contestants)
    same = agreement.measured(kept, found["forms"])
    assert same["dqt equals the interpreter"]
    assert same[engines.EXACT]["same"] > 0.8


def only_onnxruntime(contestants: Any) -> Any:
    def some(kept: networks.Files, batch: int) -> Any:
        return {each: bind for each, bind in contestants(kept, batch).items() if "ONNX" in each[0]}

    return some


def test_the_graph_as_written_and_the_exact_form_agree(tmp_path: Any) -> None:
    pytest.importorskip("onnxruntime")
    program = Program.load(dqt.example())
    path = tmp_path / "net.onnx"
    path.write_bytes(qdq_model(program))
    x = np.random.default_rng(1).standard_normal((4, *program.input_shape)).astype(np.float32)
    plain, exact = (
        engines.onnxruntime(path, 4, **how)(x) for how in ({"plain": True}, {"exact": True, "merges": False})
    )
    ours = dqt.interpret(program, x, 8)
    assert (plain.argmax(1) == ours.argmax(1)).all()
    assert (exact.argmax(1) == plain.argmax(1)).all()
