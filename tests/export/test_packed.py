"""Packed programs as ONNX models: those of the whole program at the widths that they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from dqt import export
from dqt.arith.cascade import Cascade
from dqt.arith.plan import PlanError
from dqt.program.interpret import interpret
from dqt.testing import inputs
from tests.program.test_pack import plans, sample


@pytest.mark.parametrize("width", [2, 4, 6])
def test_the_model_gives_the_integers_of_the_whole_program(width: int, tmp_path: Path) -> None:
    program, x, path = sample(), inputs(sample(), 6), tmp_path / "net.onnx"
    for plan in plans(program, width):
        if isinstance(plan, Cascade):
            continue
        export.onnx(program.pack(width), path, plan)
        y = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": x})[0]
        np.testing.assert_array_equal(y, interpret(program, x, plan))


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    packed, path = sample().pack(3), tmp_path / "net.onnx"
    with pytest.raises(PlanError, match="packed to 3 bits"):
        export.onnx(packed, path, 4)
    with pytest.raises(PlanError, match="packed to 3 bits"):
        export.onnx(packed, path, "auto")
    with pytest.raises(PlanError, match="packed to 3 bits"):
        export.onnx(packed, path, form="qdq")
    with pytest.raises(PlanError, match="packed to 3 bits"):
        export.controller(packed, path)
    assert not path.exists()
    export.onnx(packed, path)  # at the widest width that it holds
    y = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": inputs(packed, 2)})[0]
    np.testing.assert_array_equal(y, interpret(packed, inputs(packed, 2), 3))
