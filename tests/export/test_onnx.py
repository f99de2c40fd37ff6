"""ONNX models of integers: ONNX Runtime and the reference evaluator give the interpreter's integers, bit for bit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator

import dqt
from dqt.arith.cascade import Cascade
from dqt.arith.plan import PlanError, PlanLike
from dqt.export.file import exporters, integer_model
from dqt.export.graph import packed
from dqt.export.names import output_names
from dqt.export.packages import ExportError
from dqt.program.interpret import execute
from dqt.program.operator import operators
from dqt.program.program import Program
from dqt.testing import Builder, extremes, inputs, random_model, random_program, random_transformer
from tests.export.exported import plans

LEVELS = (
    ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
PRECISION = "session.x64quantprecision"
"""A switch of ONNX Runtime: whether its products of integers avoid the instructions that saturate."""
Arrays = dict[str, npt.NDArray[Any]]


@lru_cache(maxsize=16)  # a test asks for as many ways, and for each of them with another sample
def session_of(model: bytes, level: Any, precision: bool) -> Any:
    options = ort.SessionOptions()
    options.add_session_config_entry(PRECISION, str(int(precision)))
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def served(model: bytes, feed: Arrays, level: Any, precision: bool = False) -> Arrays:
    """What ONNX Runtime gives, by name."""
    session = session_of(model, level, precision)
    names = [out.name for out in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def fed(program: Program, x: Any) -> Arrays:
    """The inputs by name, and states at their start."""
    feed = dict(x) if isinstance(x, Mapping) else {program.inputs[0].name: x}
    count = len(next(iter(feed.values())))
    starts = {f"state.{s.name}": np.full((count, *s.shape), s.zero, dtype=np.int32) for s in program.states}
    return feed | starts


def defined(program: Program, x: Any, plan: PlanLike, state: Arrays | None = None) -> Arrays:
    """What the interpreter gives, by the names of the model."""
    result = execute(program, x, plan, state)
    codes = result.codes if isinstance(result.codes, Mapping) else {program.outputs[0].name: result.codes}
    values = {value.name: value for value in program.values}
    found: Arrays = {}
    for out in program.outputs:
        value = values[out.value]
        found[output_names(program)[out.name]] = (codes[out.name] - value.zero).astype(np.float32) * np.float32(
            value.scale
        )
    found |= {f"next.{name}": np.asarray(after) for name, after in result.state.items()}
    return found | ({"widths": result.widths} if plan == "auto" else {})


def assert_equal(got: Arrays, wanted: Arrays) -> None:
    assert got.keys() == wanted.keys()
    for name, expected in wanted.items():
        np.testing.assert_array_equal(got[name], expected, err_msg=name)


def assert_exact(program: Program, seed: int) -> None:
    """At every plan, on noise and on extremes; every fourth seed at all levels of optimization and precisions."""
    every = seed % 4 == 0
    ways = list(product(LEVELS, (False, True))) if every else [(LEVELS[-1], bool(seed % 2))]
    for plan in plans(program):
        model = integer_model(program, plan)
        for x in (inputs(program, 3, seed), extremes(program, 2, seed)):
            wanted = defined(program, x, plan)
            for level, precision in ways:
                assert_equal(served(model, fed(program, x), level, precision), wanted)


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_at_every_plan(seed: int) -> None:
    program = random_program(seed, auto=seed % 3 == 0)
    assert_exact(program, seed)


@pytest.mark.parametrize("seed", range(12))
def test_random_transformers_at_every_plan(seed: int) -> None:
    program = random_transformer(seed, auto=seed % 3 == 0)
    assert_exact(program, seed)


@pytest.mark.parametrize("seed", range(10))
def test_several_inputs_outputs_and_states(seed: int) -> None:
    program = random_model(seed, auto=seed % 2 == 0)
    program = program.bind(height=program.dims[0].most - seed % 2)
    for plan in plans(program)[-2:]:
        model = integer_model(program, plan)
        state: Arrays | None = None
        for run in range(3):  # each run goes on from the one before
            x = inputs(program, 2, seed + run)
            feed = fed(program, x) | {f"state.{name}": array for name, array in (state or {}).items()}
            result = execute(program, x, plan, state)
            got = served(model, feed, LEVELS[run])
            assert_equal(got, defined(program, x, plan, state))
            state = dict(result.state)


@pytest.mark.parametrize("make", [random_program, random_transformer])
@pytest.mark.parametrize("seed", range(6))
def test_the_reference_evaluator(seed: int, make: Callable[..., Program]) -> None:
    program = make(seed, auto=seed % 2 == 0)
    x = inputs(program, 2, seed)
    for plan in plans(program)[:2]:
        model = onnx.load_from_string(integer_model(program, plan))
        run = ReferenceEvaluator(model)
        names = [out.name for out in model.graph.output]
        got = dict(zip(names, run.run(names, fed(program, x)), strict=True))
        assert_equal(got, defined(program, x, plan))


@pytest.mark.parametrize("plan", [8, 5, 4, 3, 2, "auto"])
def test_the_shipped_network(plan: PlanLike) -> None:
    program = Program.load(dqt.example())
    x = np.random.default_rng(0).normal(size=(3, *program.input_shape)).astype(np.float32)
    model = integer_model(program, plan)
    wanted = defined(program, x, plan)
    for level, precision in product(LEVELS, (False, True)):
        assert_equal(served(model, fed(program, x), level, precision), wanted)


def nodes_of(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of its branches."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from nodes_of(attribute.g)


def test_float32_is_where_it_is_proved() -> None:
    """In the inputs, the outputs and the roundings of layers; no engine finds a pair that it would round itself."""
    program = Program.load(dqt.example())
    model = onnx.load_from_string(integer_model(program, 4))
    kinds = {"Conv", "Gemm", "QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger", "MatMul"}
    used = {node.op_type for node in nodes_of(model.graph)}
    assert "DequantizeLinear" not in used
    assert used & kinds <= {"ConvInteger", "MatMulInteger", "QuantizeLinear"}  # the last saturates integers


def test_weights_of_few_bits_are_few_bytes() -> None:
    program = Program.load(dqt.example())
    sizes = {b: len(integer_model(program, b)) for b in (8, 4, 2)}
    weights = sum(layer.weights for layer in program.space.layers if not layer.edge)
    assert sizes[8] - sizes[4] > 0.45 * weights  # half, less what unpacks them in either branch
    assert sizes[8] - sizes[2] > 0.7 * weights


@pytest.mark.parametrize("bits", [2, 4])
def test_packing_is_onnx_own(bits: int) -> None:
    codes = np.random.default_rng(0).integers(0, 1 << bits, (3, 5, 1)).astype(np.uint8)
    kind = onnx.TensorProto.UINT2 if bits == 2 else onnx.TensorProto.UINT4
    theirs = onnx.helper.make_tensor("t", kind, codes.shape, codes.reshape(-1).tolist())
    mine = onnx.helper.make_tensor("t", kind, codes.shape, packed(codes, bits), raw=True)
    read = [np.asarray(onnx.numpy_helper.to_array(tensor)).astype(np.uint8) for tensor in (theirs, mine)]
    np.testing.assert_array_equal(read[0], codes)
    np.testing.assert_array_equal(read[1], codes)


def test_the_controller_alone_gives_the_widths(tmp_path: Path) -> None:
    program = Program.load(dqt.example())
    dqt.export.controller(program, tmp_path / "c.onnx")
    x = np.random.default_rng(1).normal(size=(5, *program.input_shape)).astype(np.float32)
    got = served((tmp_path / "c.onnx").read_bytes(), fed(program, x), LEVELS[-1])
    columns = [program.layers.index(layer) for layer in program.space.chosen]
    np.testing.assert_array_equal(got["widths"], execute(program, x, "auto").widths[:, columns])


def test_a_value_may_be_called_like_an_input_or_output() -> None:
    b = Builder(3, (3, 5, 5))
    x = b.conv("v0", 4)
    program = b.build(b.linear(b.flatten(x), 3))
    names = {value.name: value.name for value in program.values} | {x: "output"}
    values = tuple(replace(value, name=names[value.name]) for value in program.values)
    fields = ("x", "a", "b", "out")
    ops = tuple(
        replace(
            op,
            **{f: names.get(getattr(op, f), getattr(op, f)) for f in fields if isinstance(getattr(op, f, None), str)},
        )
        for op in program.ops
    )
    named = replace(program, values=values, ops=ops)
    given = inputs(named, 2)
    assert_equal(served(integer_model(named), fed(named, given), LEVELS[-1]), defined(named, given, None))


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    dqt.export.onnx(dqt.example(), path, 4)
    onnx.checker.check_model(str(path))
    with pytest.raises(ValueError, match="form 'fast'"):
        dqt.export.onnx(dqt.example(), path, form="fast")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="a cascade is several runs"):
        dqt.export.onnx(dqt.example(), path, Cascade((2, 8), (5,)))
    b = Builder(0, (3, 5, 5))
    program = b.build(b.linear(b.flatten(b.conv("v0", 4)), 3))
    with pytest.raises(PlanError, match="7"):
        dqt.export.onnx(program, path, 7)
    with pytest.raises(OSError, match="nowhere"):
        dqt.export.onnx(dqt.example(), tmp_path / "nowhere" / "net.onnx")
    assert {each.name for each in tmp_path.iterdir()} == {"net.onnx"}


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r'pip install "dqt\[export\]"'):
        dqt.export.onnx(dqt.example(), tmp_path / "net.onnx")


def test_every_operator_has_a_form() -> None:
    assert set(exporters()) == set(operators().values())
