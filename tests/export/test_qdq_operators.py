"""Every operator in QDQ form: what it gives of the program's own values is within a step of what the program gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from typer.testing import CliRunner

import dqt
from dqt.cli.app import app
from dqt.export.file import onnx as write
from dqt.export.names import input_infos, output_infos, renamed, state_in, state_out
from dqt.export.qdq.maker import Maker
from dqt.export.qdq.model import OPSET, forms, qdq_model
from dqt.export.reals import layer_of, layer_of_rescale
from dqt.program.graph import needed
from dqt.program.interpret import execute
from dqt.program.layered import Layered
from dqt.program.operator import Operator, operators
from dqt.program.ops.choose import Choose
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.read import Read
from dqt.program.ops.recall import Recall
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.store import Store
from dqt.program.program import Program
from dqt.program.values import Value
from dqt.testing import inputs, random_late, random_model, random_program, random_transformer
from tests.export.test_onnx import LEVELS, fed, served

BATCH = 3
BORDERS = (Choose, Dequantize, Quantize, Read, Recall, Store)
"""Operators that are no function of values alone."""
Reals = npt.NDArray[np.float64]


def reals(value: Value, integers: Any) -> Reals:
    return np.asarray(value.scale * (np.asarray(integers).astype(np.float64) - value.zero))


def alone(op: Operator, program: Program) -> bytes:
    """A model of one operator: the values that it reads, as real numbers, to the one that it writes."""
    made = Maker(program, set())
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    given, out = [], made.values[str(op.writes())]
    for name in dict.fromkeys(op.reads()):
        value = made.values[name]
        given.append(helper.make_tensor_value_info(f"{name}.given", kind, [BATCH, *value.shape]))
        if value.coded:
            made._quantized(f"{name}.given", value)
        else:
            made.node("Identity", [f"{name}.given"], name)
    first = program.inputs[0]
    given.append(helper.make_tensor_value_info(first.name, kind, [BATCH, *first.shape]))  # of which a constant takes N
    forms()[type(op)](made, op)
    wanted = helper.make_tensor_value_info(out.name, kind, [BATCH, *out.shape])
    graph = helper.make_graph(made.nodes, "one", given, [wanted], made.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return bytes(model.SerializeToString())


def beyond(op: Operator) -> bool:
    """A layer whose scale is negative in some channel and whose weights reach -128: int8 has no 128."""
    return isinstance(op, Layered) and bool((op.m < 0).any() and (op.weight == -128).any())


def bias_step(op: Operator, program: Program) -> float:
    """Biases are integers, too: multiples of one product of a weight and an input."""
    values = {value.name: value for value in program.values}
    if isinstance(op, Layered):
        return float(layer_of(op, program, values).scale.max()) * values[op.x].scale
    if isinstance(op, Rescale) and len(values[op.x].shape) == 3:
        return float(layer_of_rescale(op, values).scale.max()) * values[op.x].scale
    return 0.0


def run(model: bytes, feed: dict[str, Any]) -> Any:
    """In float32 as the model says it: no int8 kernels."""
    options = ort.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = LEVELS[0], 3
    options.intra_op_num_threads = 1  # more of them wait for each other in loops
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}
    return session.run(None, {name: array for name, array in feed.items() if name in names})[0]


def of_8_bits(make: Callable[..., Program], count: int) -> list[Program]:
    found = (make(seed) for seed in range(5 * count))
    return [program for program in found if program.space.master == 8][:count]


def late(seed: int) -> Program:
    return random_late(seed, again=False)


@pytest.mark.parametrize("make", [random_program, random_transformer, random_model, late])
def test_an_operator_is_within_a_step(make: Callable[..., Program]) -> None:
    for seed, program in enumerate(map(renamed, of_8_bits(make, 15))):
        values = {value.name: value for value in program.values}
        x = inputs(program, BATCH, seed)
        kept: Any = execute(program, x, 8, keep=True).values
        for op in needed(program.ops, auto=False):
            if isinstance(op, BORDERS) or beyond(op):
                continue
            feed = {f"{name}.given": reals(values[name], kept[name]).astype(np.float32) for name in op.reads()}
            first = program.inputs[0]
            feed[first.name] = np.zeros((BATCH, *first.shape), np.float32)
            out = values[str(op.writes())]
            wanted = reals(out, np.broadcast_to(kept[out.name], (BATCH, *out.shape)))
            off = np.abs(run(alone(op, program), feed) - wanted)
            most = 1.05 * out.scale + bias_step(op, program) / 2 + 1e-4 * np.abs(wanted)
            assert (off <= most).all(), (make.__name__, seed, op.title(0), (off / out.scale).max())


def test_every_operator_has_a_form() -> None:
    assert set(forms()) == set(operators().values()) - {Choose, ChooseLate}


@pytest.mark.parametrize("seed", range(3))
def test_names_and_states_are_those_of_the_integer_form(seed: int) -> None:
    program = of_8_bits(random_model, 3)[seed]
    model = onnx.load_from_string(qdq_model(program))
    assert [each.name for each in model.graph.input] == [each.name for each in input_infos(program, onnx)]
    assert [each.name for each in model.graph.output] == [each.name for each in output_infos(program, onnx)]
    got = served(qdq_model(program), fed(program, inputs(program, 2, seed)), LEVELS[0])
    for state in program.states:
        assert got[state_out(state.name)].dtype == np.int32
        assert got[state_out(state.name)].min() >= state.lo
        assert state_in(state.name) in {each.name for each in model.graph.input}


def test_the_shipped_network_agrees() -> None:
    program = dqt.Program.load(dqt.example())
    x = np.random.default_rng(0).normal(size=(64, *program.input_shape)).astype(np.float32)
    y, wanted = run(qdq_model(program), {"input": x}), dqt.interpret(program, x, 8)
    assert (y.argmax(1) == wanted.argmax(1)).mean() >= 0.95
    assert np.abs(y - wanted).mean() < 0.05 * wanted.std()


def test_pixels_are_normalized_by_the_model() -> None:
    """A gain and a bias for each channel, which the entry of a program may hold."""
    program = next(p for p in of_8_bits(random_program, 40) if len(p.ops[0].gain) > 1)  # type: ignore[attr-defined]
    program = replace(program)
    model, x = qdq_model(program), inputs(program, 5)
    values = {value.name: value for value in program.values}
    kept: Any = execute(program, x, 8, keep=True).values
    entry = program.ops[0]
    assert isinstance(entry, Quantize)
    whole = onnx.load_from_string(model)
    codes = next(node.output[0] for node in whole.graph.node if node.op_type == "QuantizeLinear")
    whole.graph.output.append(onnx.helper.make_tensor_value_info(codes, onnx.TensorProto.UINT8, None))
    options = ort.SessionOptions()
    options.graph_optimization_level, options.intra_op_num_threads = LEVELS[0], 1
    got = ort.InferenceSession(whole.SerializeToString(), options).run([codes], {program.inputs[0].name: x})[0]
    assert np.abs(got.astype(int) - kept[entry.out]).max() <= 1
    assert values[entry.out].coded


def test_the_command_line_says_how_a_transformer_agrees(tmp_path: Path) -> None:
    program = of_8_bits(random_transformer, 1)[0]
    program.save(tmp_path / "net.dqt")
    done = CliRunner().invoke(app, ["export", "onnx", str(tmp_path / "net.dqt"), "--form", "qdq"])
    assert done.exit_code == 0, done.output
    assert "not exact: onnxruntime" in done.output
    assert "of 16 noisy inputs" in done.output
    write(program, tmp_path / "again.onnx", form="qdq")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()
