"""A program as an ONNX model in QDQ form: ``QuantizeLinear`` and ``DequantizeLinear`` around float operators.

The form from which ONNX Runtime and OpenVINO take their int8 kernels: uint8 activations, int8 weights with a scale a
channel, int32 biases. Every operator has one; what is int32 in the program is float32 here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqt.export.names import input_infos, output_infos, renamed
from dqt.export.packages import package
from dqt.export.qdq import layers, moves, numbers
from dqt.export.qdq.maker import Maker
from dqt.export.reals import at_master
from dqt.program.operator import Operator
from dqt.program.program import Program

OPSET, IR_VERSION = 19, 10


def forms() -> Mapping[type[Operator], Callable[[Maker, Any], None]]:
    """Operator -> what appends its nodes; a ``Choose`` has none: this form has one width."""
    found: dict[type[Operator], Callable[[Maker, Any], None]] = {}
    for family in (layers, moves, numbers):
        found |= family.FORMS
    return found


def qdq_model(program: Program, batch: int | str = "N") -> bytes:
    """The serialized model: inputs, outputs and states as in the integer form.

    Args:
        program: the program.
        batch: a number of samples, for engines that plan for one; a name leaves it open.

    Raises:
        ExportError: the package ``onnx`` is missing, or the master has fewer than 8 bits.
    """
    onnx = package("onnx")
    program = renamed(program)
    ops, known = at_master(program), forms()
    inputs, outputs = input_infos(program, onnx, batch), output_infos(program, onnx, batch)
    made = Maker(program, {each.name for each in (*inputs, *outputs)})
    for op in ops:
        known[type(op)](made, op)
    helper = onnx.helper
    graph = helper.make_graph(made.nodes, "dqt", inputs, outputs, made.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "dqt"
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
