"""Packed programs as ONNX models and as C99: the integers of the whole program at the widths that they hold."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from dqt import export
from dqt.arith.cascade import Cascade
from dqt.arith.plan import PlanError
from dqt.program.interpret import interpret
from dqt.testing import inputs
from tests.export.exported import SANITIZED, Compiled, assert_same, by_name
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


@pytest.mark.parametrize("width", [3, 4])
def test_c_gives_the_integers_at_the_widths_that_are_held(width: int, tmp_path: Path) -> None:
    packed, x = sample().pack(width), inputs(sample(), 1)
    net = Compiled(packed, tmp_path, "gcc", *SANITIZED["gcc"])
    for plan in plans(packed, width):
        if not isinstance(plan, Cascade):
            assert_same(net, x, plan)
    flat = [8] * (2 * len(packed.layers))
    wide = (ctypes.c_uint8 * len(flat))(*flat)
    out = np.zeros(7, np.float32)
    arrays = [ctypes.c_void_p(array.ctypes.data) for array in (by_name(packed, x)["input"], out)]
    assert net.library.net_run(net.net, arrays[0], wide, arrays[1]) == 1  # wider weights than there are
    assert net.library.net_run(net.net, arrays[0], None, arrays[1]) == 0
    np.testing.assert_array_equal(out, interpret(packed, x)[0])


def test_c_of_one_width(tmp_path: Path) -> None:
    packed, plan = sample().pack(4), 2
    assert_same(Compiled(packed, tmp_path, "gcc", *SANITIZED["gcc"], width=plan), inputs(packed, 1), plan)
    with pytest.raises(PlanError, match="packed to 4 bits"):
        export.c(packed, tmp_path / "d", width=8)
