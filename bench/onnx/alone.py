"""One operator of a program as an ONNX model of integers, with what it is given and what the interpreter says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from dqt.arith.plan import AUTO, PlanLike, resolve, uniform
from dqt.export.file import IR_UINT2, IR_VERSION, OPSET, OPSET_UINT2, exporters
from dqt.export.graph import Graph
from dqt.export.names import output_names, renamed, state_in, state_out
from dqt.program.graph import needed
from dqt.program.interpret import execute
from dqt.program.operator import Operator
from dqt.program.ops.choose import Choose
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.read import Read
from dqt.program.ops.recall import Recall
from dqt.program.ops.store import Store
from dqt.program.program import Program
from dqt.program.values import FLOAT, Value
from dqt.testing import inputs

BATCH = 3
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """An operator at a pair of widths: its model, its inputs and its outputs, by name."""

    operator: str
    model: bytes
    feed: Arrays
    wanted: Arrays


def cases(program: Program, seed: int) -> Iterator[Case]:
    """Every instruction of a program, at its widest and its narrowest width; a choice of widths where it has one."""
    program = renamed(program)
    x: Any = inputs(program, BATCH, seed)
    named = dict(x) if isinstance(x, dict) else {program.inputs[0].name: x}
    for bits in sorted({program.space.widths[0], program.space.master}):
        run = _Run(program, named, bits)
        yield from (run.case(op) for op in needed(program.ops, auto=False))
    if program.space.choices:
        run = _Run(program, named, AUTO)
        yield from (run.case(op) for op in needed(program.ops, auto=True) if isinstance(op, Choose))


class _Run:
    """What the interpreter computes of a batch at a width."""

    def __init__(self, program: Program, x: Arrays, plan: PlanLike) -> None:
        self.program, self.x = program, x
        fixed: Any = uniform(program.space, program.space.widest) if plan == AUTO else resolve(program.space, plan)
        pairs = dict(fixed.items_)
        n = program.space.master
        self.pairs = pairs | {own.name: (n, n) for own in program.space.controller}
        given: Any = x if len(program.inputs) > 1 else next(iter(x.values()))
        self.result = execute(program, given, plan, keep=True)
        self.kept: Any = self.result.values

    def case(self, op: Operator) -> Case:
        g = Graph(self.program, self.pairs)
        g.signed = False  # products that are exact on every processor
        exporters()[type(op)](g, op)
        feed, wanted = self._given(op), self._wanted(g, op)
        return Case(type(op).__name__, _model(g, feed, wanted), feed, wanted)

    def _typed(self, value: Value, array: Any) -> npt.NDArray[Any]:
        return np.broadcast_to(array, (BATCH, *value.shape)).astype(np.uint8 if value.coded else np.int32)

    def _given(self, op: Operator) -> Arrays:
        values = {value.name: value for value in self.program.values}
        feed = {name: self._typed(values[name], self.kept[name]) for name in op.reads()}
        if isinstance(op, Quantize | Read):
            feed[op.x] = self.x[op.x]
        elif isinstance(op, Recall):
            state = next(each for each in self.program.states if each.name == op.state)
            feed[state_in(op.state)] = np.full((BATCH, *state.shape), state.zero, np.int32)
        elif not feed:  # a constant, once for each sample
            feed |= self._first()
        return feed

    def _first(self) -> Arrays:
        first = self.program.inputs[0]
        return {first.name: self.x[first.name].astype(np.float32 if first.kind == FLOAT else np.int64)}

    def _wanted(self, g: Graph, op: Operator) -> Arrays:
        values = {value.name: value for value in self.program.values}
        if isinstance(op, Choose):
            columns = {layer: self.program.layers.index(layer) for layer in op.layers}
            return {g.chosen[layer]: self.result.widths[:, i].astype(np.int64) for layer, i in columns.items()}
        if isinstance(op, Store):
            return {state_out(op.state): np.asarray(self.result.state[op.state])}
        if isinstance(op, Dequantize):
            value = values[op.x]
            q = np.asarray(self.kept[op.x]).astype(np.int64) - value.zero
            return {output_names(self.program)[op.name]: q.astype(np.float32) * np.float32(value.scale)}
        return {str(op.writes()): self._typed(values[str(op.writes())], self.kept[str(op.writes())])}


def _model(g: Graph, feed: Arrays, wanted: Arrays) -> bytes:
    helper = onnx.helper

    def infos(arrays: Arrays) -> list[Any]:
        kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in arrays.items()}
        return [helper.make_tensor_value_info(name, kinds[name], array.shape) for name, array in arrays.items()]

    graph = helper.make_graph(g.nodes, "one", infos(feed), infos(wanted), list(g.constants.values()))
    small = any(tensor.data_type == onnx.TensorProto.UINT2 for tensor in g.constants.values())
    opset, version = (OPSET_UINT2, IR_UINT2) if small else (OPSET, IR_VERSION)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)
    return bytes(made.SerializeToString())
