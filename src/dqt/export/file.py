"""``dqt.export.onnx``: a program under one plan as an ONNX model of integers, exact; or in QDQ form, for speed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal

import numpy as np

from dqt.arith.cascade import Cascade
from dqt.arith.files import write_file
from dqt.arith.plan import AUTO, PlanError, PlanLike, resolve, uniform
from dqt.export import ops
from dqt.export.graph import Graph
from dqt.export.names import WIDTHS, input_infos, output_infos, renamed, with_names
from dqt.export.packages import ExportError
from dqt.export.products import exact
from dqt.export.qdq.model import qdq_model
from dqt.program.graph import DECISIONS, needed
from dqt.program.operator import Operator
from dqt.program.program import Program, ProgramLike, as_program

OPSET, IR_VERSION = 21, 10
OPSET_UINT2, IR_UINT2 = 25, 13
"""Weights of 2 bits have a type from this version on."""
LARGEST = (1 << 31) - 1
"""Bytes of a model that one protobuf message holds."""


def onnx(
    program: ProgramLike,
    path: str | os.PathLike[str],
    plan: PlanLike = None,
    *,
    form: Literal["integer", "qdq"] = "integer",
) -> None:
    """Write ``program`` under ``plan`` as an ONNX model.

    The integer form has standard operators alone and gives the integers of :func:`dqt.interpret` to the bit in ONNX
    Runtime's CPU provider and in the reference evaluator of onnx, at every level of optimization and any batch:
    products are of uint8 by uint8, which no kernel saturates, or of uint8 by int8 where the model finds that its
    processor does not saturate these, and every rounding is exact. Inputs, outputs and states keep their names and
    order; a state is the int32 input ``state.NAME`` and the int32 output ``next.NAME``, and an output that is called
    like an input is ``NAME.out``. With "auto" there is one more output, ``widths``, int64 ``[N, layers]``. Weights of 4
    bits or fewer take 4 or 2 bits each in the file.

    The QDQ form is that from which other engines take their int8 kernels: the same weights at 8 bits, rounded
    elsewhere, so its answers differ now and then.

    Args:
        program: the program, or the path of a ``.dqt`` file.
        path: of the model; an existing file stays whole until the new one is.
        plan: a width, a mapping, a ``Plan`` or "auto"; the master width if left out. The QDQ form has the master width.
        form: "integer" or "qdq".

    Raises:
        ExportError: the package ``onnx`` is missing, or an operator has no counterpart; names it.
        PlanError: the plan does not fit, or is a cascade, which is several runs: export each of its widths.
        ValueError: ``form`` is neither.
        OSError: the file cannot be written.
    """
    if form not in ("integer", "qdq"):
        raise ValueError(f"form {form!r}: need 'integer' (exact) or 'qdq' (for the int8 kernels of other engines)")
    program = as_program(program)
    if form == "integer":
        write_file(path, integer_model(program, plan))
        return
    resolve(program.space, program.space.master)
    if plan not in (None, program.space.master):
        raise PlanError(f"the QDQ form has the master width, {program.space.master}, alone: leave out the plan")
    write_file(path, qdq_model(program))


def controller(program: ProgramLike, path: str | os.PathLike[str]) -> None:
    """Write the controller alone as an ONNX model: the inputs to ``widths``, int64 ``[N, layers that it chooses for]``.

    Raises:
        ExportError, OSError: as :func:`onnx`.   PlanError: the program has no controller.
    """
    program = as_program(program)
    resolve(program.space, AUTO)
    write_file(path, integer_model(program, AUTO, alone=True))


def integer_model(program: Program, plan: PlanLike = None, *, alone: bool = False) -> bytes:
    """The serialized integer model of :func:`onnx`. ``alone``: of the controller."""
    resolved = resolve(program.space, plan)
    if isinstance(resolved, Cascade):
        raise PlanError("a cascade is several runs: export each of its widths, and compare the two largest outputs")
    auto = resolved == AUTO
    fixed = uniform(program.space, program.first) if isinstance(resolved, str) else resolved
    n = program.space.master
    pairs = dict(fixed.items_) | {own.name: (n, n) for own in program.space.controller}
    program = renamed(program)
    g = Graph(program, pairs)
    nodes, outputs = _network(g, auto=auto, alone=alone)
    if g.asked:
        g.signed = False
        nodes, outputs = _either(g, (nodes, outputs), _network(g, auto=auto, alone=alone))
    return _serialized(g, nodes, outputs)


Network = tuple[list[Any], list[Any]]
"""Nodes, and what they give: names and types."""


def _network(g: Graph, *, auto: bool, alone: bool) -> Network:
    """The instructions as nodes, of products as ``g.signed`` says."""
    g.nodes, g.chosen = [], {}
    if auto and g.program.again and not alone:
        _add_first_run(g, g.program)
        instructions = needed(g.program.ops, auto=False)
    else:
        instructions = _instructions(g.program, auto=auto, alone=alone)
    for op in instructions:
        _add(g, op)
    outputs = _outputs(g, auto=auto, alone=alone)
    return g.nodes, outputs


def _either(g: Graph, fast: Network, safe: Network) -> Network:
    """The first network where its products are exact, otherwise the second."""
    g.nodes, (_, outputs) = [], safe
    branches = {f"{name}_branch": _branch(g, network) for name, network in (("then", fast), ("else", safe))}
    answer, names = exact(g, g.asked), [each.name for each in outputs]
    g.nodes.append(g.onnx.helper.make_node("If", [answer], names, name="network:If", **branches))
    return g.nodes, outputs


def _branch(g: Graph, network: Network) -> Any:
    """A graph of nodes whose outputs have names of their own: those of the model are the ``If``'s."""
    nodes, outputs = network
    names = {each.name: g.name(f"{each.name}.branch") for each in outputs}
    for node in nodes:
        for held in (node.input, node.output):
            held[:] = [names.get(name, name) for name in held]
    infos = [g.onnx.helper.make_value_info(names[each.name], each.type) for each in outputs]
    return g.onnx.helper.make_graph(nodes, "branch", [], infos)


def _add_first_run(g: Graph, program: Program) -> None:
    """What leads to a choice behind the network, under names of its own: after it the network runs at what was chosen.

    A sample that chose the width of the first run gets the integers that the first run gave.
    """
    names = {}
    for op in _instructions(program, auto=True, alone=True):
        out = op.writes()
        if out is not None:
            names[out] = g.name(f"first.{out}")
            g.values[names[out]] = replace(g.values[out], name=names[out])
        _add(g, with_names(op, names))


def exporters() -> Mapping[type[Operator], Any]:
    """Operator -> what appends its nodes: all that the files of :mod:`dqt.export.ops` define."""
    names = [module.name for module in iter_modules(ops.__path__, f"{ops.__name__}.")]
    return {module.OPERATOR: module.add for module in map(import_module, names)}


def _add(g: Graph, op: Operator) -> None:
    known = exporters()
    if type(op) not in known:
        raise ExportError(f"{type(op).__name__} '{op.writes()}' has no ONNX form: leave it outside the network")
    known[type(op)](g, op)


def _instructions(program: Program, *, auto: bool, alone: bool) -> tuple[Operator, ...]:
    found = needed(program.ops, auto=auto)
    if not alone:
        return found
    live: set[str] = set()
    kept: list[Operator] = []
    for op in reversed(found):
        if isinstance(op, DECISIONS) or op.writes() in live:
            live.update(op.reads())
            kept.append(op)
    return tuple(reversed(kept))


def _outputs(g: Graph, *, auto: bool, alone: bool) -> list[Any]:
    """What the model gives, in order."""
    info, kind = g.onnx.helper.make_tensor_value_info, g.onnx.TensorProto
    given = [] if alone else output_infos(g.program, g.onnx)
    if auto:
        layers = g.program.space.chosen if alone else g.program.layers
        _widths(g, layers)
        given.append(info(WIDTHS, kind.INT64, ["N", len(layers)]))
    return given


def _widths(g: Graph, layers: tuple[str, ...]) -> None:
    """``widths``: the chosen, and of the other layers the smaller of their pair."""
    last = g.constant([-1, 1], np.int64)
    some = next(iter(g.chosen.values()))
    columns = []
    for layer in layers:
        fixed = min(g.pairs[layer])
        column = g.chosen.get(layer) or g.node("Expand", [g.constant([fixed], np.int64), g.node("Shape", [some])])
        columns.append(g.node("Reshape", [column, last]))
    g.node("Concat", columns, WIDTHS, axis=1)


def _serialized(g: Graph, nodes: list[Any], outputs: list[Any]) -> bytes:
    helper, kind = g.onnx.helper, g.onnx.TensorProto
    graph = helper.make_graph(nodes, "dqt", input_infos(g.program, g.onnx), outputs, list(g.constants.values()))
    small = any(tensor.data_type == kind.UINT2 for tensor in g.constants.values())
    opset, version = (OPSET_UINT2, IR_UINT2) if small else (OPSET, IR_VERSION)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)
    model.producer_name = "dqt"
    if model.ByteSize() > LARGEST:
        raise ExportError(f"a model of {model.ByteSize()} bytes: one ONNX file holds {LARGEST}")
    g.onnx.checker.check_model(model, full_check=False)
    return bytes(model.SerializeToString())
