"""What the record of transformers is judged by, and how its table is printed."""

from __future__ import annotations

from typing import Any

import torch

from bench.pages.kernels import _fastest, _transformers
from bench.transformers import Encoder, checks
from bench.transformers_onnx import Samples


def spread(median: float) -> dict[str, Any]:
    return {"count": 5, "median": median, "p10": median, "p90": median}


def record() -> dict[str, Any]:
    ours = {"8": 20.0, "6": 20.0, "4": 19.0, "3": 19.0, "2": 12.0}
    peers = {"openvino whole": 30.0, "openvino products": 25.0, "onnxruntime dynamic": 40.0}
    best = {label: spread(ms) for label, ms in (ours | peers).items()}
    forced = {label: spread(3 * ms) for label, ms in ours.items()}
    times = {
        isa: {"ms": ms, "of_8": {label: spread(each["median"] / ms["8"]["median"]) for label, each in ms.items()}}
        for isa, ms in (("avx512vnni", best), ("avx2", forced))
    }
    return {"net": times | {"memory": {"dqt": 50 << 20, "openvino whole": 300 << 20, "onnxruntime whole": 200 << 20}}}


def test_the_fastest_form_of_the_fastest_engine_counts() -> None:
    found = {check.what: (check.value, check.met) for check in checks(record())}
    assert found["net, avx512vnni, time at 8 bits over the fastest peer's"] == (0.8, True)
    assert found["net, avx512vnni, time at 4 bits over that at 8"] == (0.95, False)
    assert found["net, peak resident memory over the leanest peer's"] == (0.25, True)
    assert "net, avx2, time at 8 bits over the fastest peer's" not in found  # none was measured there


def test_the_table_has_a_row_for_each_kernel_set_and_one_for_memory() -> None:
    lines = _transformers(record()).splitlines()
    assert "| net | avx512vnni | 20 | 20 | 19 | 19 | 12 | 25 | 40 | 0.80 |" in lines
    assert any(line.startswith("| net | avx2, forced | 60 |") for line in lines)
    assert "| net | MiB at the peak of a run | 50 |  |  |  |  | 300 | 200 | 0.25 |" in lines
    assert _fastest({"8": 1.0}) == {}


def test_samples_end() -> None:
    samples = Samples(torch.zeros(2, 3))
    shapes = [each["input"].shape for each in iter(samples.get_next, None)]
    assert shapes == [(1, 3), (1, 3)]


def test_an_encoder_gives_its_last_states() -> None:
    class Model(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> Any:
            return type("Output", (), {"last_hidden_state": tokens + 1})

    assert Encoder(Model())(torch.zeros(1, 2)).tolist() == [[1.0, 1.0]]
