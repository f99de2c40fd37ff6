"""Fast products of integers in ONNX models: both branches are exact, and a model takes the one that its processor has.

ONNX Runtime's kernels for processors without VNNI, which saturate, run under QEMU.
"""

from __future__ import annotations

import platform
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator

from dqt.arith.plan import PlanLike
from dqt.export import products
from dqt.export.file import integer_model
from dqt.export.ops import conv
from dqt.export.products import answered
from dqt.program.program import Program
from dqt.testing import Builder, extremes, inputs, random_model, random_program, random_transformer
from tests.export.exported import plans
from tests.export.test_onnx import LEVELS, Arrays, assert_equal, defined, fed, served
from tests.native.build import needs, python_on

X86 = platform.machine() == "x86_64"
WITHOUT_VNNI = {"Haswell": True, "Nehalem": False}
"""Processors of QEMU, with AVX2 and with SSE alone -> whether ONNX Runtime's fast products saturate there."""


@pytest.fixture(autouse=True)
def _every_product_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST_MACS", 0)
    monkeypatch.setattr(conv, "LEAST_CHANNELS", 16)


def branches(model: bytes) -> int:
    return sum(node.op_type == "If" for node in onnx.load_from_string(model).graph.node)


def within(model: bytes) -> list[Any]:
    """The nodes of the network: those of the first branch."""
    (either,) = (node for node in onnx.load_from_string(model).graph.node if node.op_type == "If")
    return list(next(each.g for each in either.attribute if each.name == "then_branch").node)


@pytest.mark.parametrize("make", [random_program, random_transformer])
@pytest.mark.parametrize("seed", range(6))
def test_both_branches_of_random_programs(seed: int, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "LEAST_CHANNELS", seed % 2 and 1000)  # all as matrices, and none
    program = make(seed, auto=seed % 3 == 0)
    for plan in plans(program)[-2:]:
        model = integer_model(program, plan)
        assert branches(model) == 1
        for x, level in product((inputs(program, 3, seed), extremes(program, 2, seed)), (LEVELS[0], LEVELS[-1])):
            wanted = defined(program, x, plan)
            assert_equal(served(model, fed(program, x), level, bool(seed % 2)), wanted)
            assert_equal(served(answered(model, False), fed(program, x), level, bool(seed % 2)), wanted)


@pytest.mark.parametrize("seed", range(4))
def test_both_branches_of_several_inputs_and_states(seed: int) -> None:
    program = random_model(seed, auto=seed % 2 == 0)
    program = program.bind(height=program.dims[0].most)
    for plan in plans(program)[-2:]:
        model, x = integer_model(program, plan), inputs(program, 2, seed)
        for each, level in product((model, answered(model, False)), LEVELS):
            assert_equal(served(each, fed(program, x), level), defined(program, x, plan))


@pytest.mark.parametrize("answer", [None, True, False])
def test_the_reference_evaluator_takes_both(answer: bool | None) -> None:
    for seed in range(3):
        program = random_program(seed, auto=seed % 2 == 0)
        x = inputs(program, 2, seed)
        for plan in plans(program)[-2:]:
            model = integer_model(program, plan)
            read = onnx.load_from_string(model if answer is None else answered(model, answer))
            names = [out.name for out in read.graph.output]
            got = dict(zip(names, ReferenceEvaluator(read).run(names, fed(program, x)), strict=True))
            assert_equal(got, defined(program, x, plan))


def network() -> Program:
    """Windows as a matrix, a convolution and a matrix product; its weights and inputs reach the ends of their types."""
    b = Builder(0, (16, 6, 6))
    x = b.conv(b.conv("v0", 8), 8, stride=(2, 2))
    return b.build(b.linear(b.flatten(x), 4))


@pytest.mark.parametrize(("side", "kind"), [(22, "Conv"), (23, "ConvInteger")])
def test_depthwise_sums_that_float32_holds(side: int, kind: str) -> None:
    """22 * 22 products of at most 2^15 stay below 2^24; 23 * 23 may not."""
    b = Builder(0, (2, side, side))
    program = b.build(b.linear(b.flatten(b.conv("v0", 2, (side, side), padding=(0, 0, 0, 0), groups=2)), 3))
    model = integer_model(program)
    assert sum(node.op_type == "Conv" for node in within(model)) == (kind == "Conv")
    for seed, level in product(range(3), LEVELS):
        x = extremes(program, 3, seed)
        assert_equal(served(model, fed(program, x), level), defined(program, x, None))


def test_no_optimizer_answers_for_another_processor(tmp_path: Path) -> None:
    """A model that is optimized, with its batch fixed, and saved still asks."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "net.onnx")
    options.add_free_dimension_override_by_name("N", 2)
    options.log_severity_level = 3
    ort.InferenceSession(integer_model(network()), options, providers=["CPUExecutionProvider"])
    saved = onnx.load(tmp_path / "net.onnx")
    assert sum(node.op_type == "If" for node in saved.graph.node) == 1
    asked = [node for node in saved.graph.node if node.op_type in ("ConvInteger", "MatMulInteger", "QLinearConv")]
    assert len(asked) == 2 * len(products.ROWS)


def test_the_question_does_not_depend_on_what_the_input_holds() -> None:
    program = network()
    model = onnx.load_from_string(integer_model(program))
    names = [node.output[0] for node in model.graph.node if node.output[0].startswith("exact.")]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.BOOL, None) for name in names)
    serialized, answers = model.SerializeToString(), set()
    for value in (0.0, -0.0, np.nan, np.inf, -np.inf, 3e38, 1e-45):
        x = np.full((2, *program.input_shape), value, np.float32)
        found = served(serialized, fed(program, x), LEVELS[-1])
        answers |= {bool(found[name]) for name in names}
    assert len(names) == 2
    assert len(answers) == 1


WORKER = """
import sys
import numpy, onnxruntime
found = {}
given = dict(numpy.load(sys.argv[1]))
for name in [key for key in given if key.endswith(".model")]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    for level in (0, 99):
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel(level)
        run = onnxruntime.InferenceSession(given[name].tobytes(), options, providers=["CPUExecutionProvider"])
        feed = {each.name: given[name[:-5] + each.name] for each in run.get_inputs()}
        for out, array in zip(run.get_outputs(), run.run(None, feed)):
            found[f"{name[:-5]}{level}.{out.name}"] = array
numpy.savez(sys.argv[2], **found)
"""


def emulated(cpu: str, models: dict[str, tuple[bytes, Arrays]], folder: Path) -> Arrays:
    """What ONNX Runtime gives on a processor of QEMU: ``MODEL.LEVEL.OUTPUT``, without and with optimization."""
    given = {f"{name}.model": np.frombuffer(model, np.uint8) for name, (model, _) in models.items()}
    given |= {f"{name}.{key}": array for name, (_, feed) in models.items() for key, array in feed.items()}
    np.savez(folder / "in.npz", allow_pickle=False, **given)
    python_on(cpu, WORKER, folder / "in.npz", folder / "out.npz")
    return dict(np.load(folder / "out.npz"))


@needs("qemu-x86_64")
@pytest.mark.skipif(not X86, reason="NOT tested: ONNX Runtime here has no kernels for x86")
@pytest.mark.parametrize("cpu", WITHOUT_VNNI)
def test_processors_without_vnni(cpu: str, tmp_path: Path) -> None:
    models: dict[str, tuple[bytes, Arrays]] = {}
    wanted: Arrays = {}

    def add(name: str, program: Program, x: Any, plan: PlanLike) -> None:
        models[name] = (integer_model(program, plan), fed(program, x))
        for (key, array), level in product(defined(program, x, plan).items(), (0, 99)):
            wanted[f"{name}.{level}.{key}"] = array

    program = network()
    x = extremes(program, 2, 0)
    add("network", program, x, None)
    for seed in range(2):
        each = (random_transformer if seed else random_program)(seed, auto=seed == 0)
        add(f"random{seed}", each, extremes(each, 2, seed), plans(each)[-1])
    fast = answered(models["network"][0], True)
    models["fast"] = (fast, fed(program, x))
    got = emulated(cpu, models, tmp_path)
    assert_equal({key: array for key, array in got.items() if not key.startswith("fast.")}, wanted)
    name = next(key for key in got if key.startswith("fast.0."))
    saturated = not np.array_equal(got[name], wanted[name.replace("fast", "network")])
    assert saturated == WITHOUT_VNNI[cpu], "whether the model's weights and inputs tell its branches apart"
