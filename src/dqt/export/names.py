"""What a model is given and gives, and names: inputs, outputs and states are tensors as values are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dqt.program.program import Program
from dqt.program.values import FLOAT

WIDTHS = "widths"


def output_names(program: Program) -> dict[str, str]:
    """What each output is called: by its name, or ``NAME.out`` where an input has that name."""
    inputs = {each.name for each in program.inputs}
    return {out.name: f"{out.name}.out" if out.name in inputs else out.name for out in program.outputs}


def state_in(name: str) -> str:
    """The input that a state is."""
    return f"state.{name}"


def state_out(name: str) -> str:
    """The output that a state becomes."""
    return f"next.{name}"


def input_infos(program: Program, onnx: Any, batch: int | str = "N") -> list[Any]:
    """The inputs and states as a model declares them; ``batch``: a number of samples, or the name of an open one."""
    info, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto
    given = [
        info(each.name, kind.FLOAT if each.kind == FLOAT else kind.INT64, [batch, *each.shape])
        for each in program.inputs
    ]
    return given + [info(state_in(state.name), kind.INT32, [batch, *state.shape]) for state in program.states]


def output_infos(program: Program, onnx: Any, batch: int | str = "N") -> list[Any]:
    """The outputs and the states after a run, as a model declares them."""
    info, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto
    shapes, names = {value.name: value.shape for value in program.values}, output_names(program)
    given = [info(names[out.name], kind.FLOAT, [batch, *shapes[out.value]]) for out in program.outputs]
    return given + [info(state_out(state.name), kind.INT32, [batch, *state.shape]) for state in program.states]


def renamed(program: Program) -> Program:
    """The program with values that are not called like an input, output or state."""
    taken = {each.name for each in program.inputs} | set(output_names(program).values()) | {WIDTHS}
    taken |= {side(state.name) for side in (state_in, state_out) for state in program.states}
    all_names = taken | {value.name for value in program.values}
    names: dict[str, str] = {}
    for value in program.values:
        name = value.name
        while name in taken or (name != value.name and name in all_names):
            name += "_"
        names[value.name] = name
        taken.add(name)
    if all(old == new for old, new in names.items()):
        return program
    values = tuple(replace(value, name=names[value.name]) for value in program.values)
    return replace(program, values=values, ops=tuple(with_names(op, names) for op in program.ops))


def with_names(op: Any, names: Mapping[str, str]) -> Any:
    """An instruction that reads and defines values under other names."""
    fields = {}
    for key in (*op.OPERANDS, "out"):
        held = getattr(op, key, None)
        if held is not None:
            fields[key] = names[held] if isinstance(held, str) else tuple(names[name] for name in held)
    return replace(op, **fields) if fields else op
