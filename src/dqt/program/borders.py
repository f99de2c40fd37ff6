"""The verifier's part on where numbers enter and leave a program: inputs, outputs, states and named dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dqt.arith.plan import Space
from dqt.program.errors import require
from dqt.program.operator import Operator
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.read import Read
from dqt.program.ops.recall import Recall
from dqt.program.ops.store import Store
from dqt.program.schema import MAX_DIM
from dqt.program.values import Dimension, Input, State, check_input, check_value, sizes_of

if TYPE_CHECKING:
    from dqt.program.program import Program


def check_borders(program: Program) -> None:
    """Every input is read, every state recalled and stored, every dimension bound; names stand for one thing.

    Raises:
        ProgramError: the first thing that is wrong.
    """
    _check_dims(program.dims, (*program.inputs, *program.states))
    _check_inputs(program)
    _check_outputs(program.ops)
    _check_names("states", [state.name for state in program.states])
    for state in program.states:
        _check_state(state, program.ops, program.space)


def _check_names(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        require(name not in seen, f"{what}: {name!r} stands twice")
        seen.add(name)


def _check_dims(dims: tuple[Dimension, ...], parts: tuple[Input | State, ...]) -> None:
    _check_names("dims", [dim.name for dim in dims])
    for dim in dims:
        legal = 1 <= dim.least <= dim.most <= MAX_DIM
        require(legal, f"dimension {dim.name}: from {dim.least} to {dim.most}, need sizes from 1 to {MAX_DIM}")
    sizes = sizes_of(parts, {dim.name: dim for dim in dims})
    for dim in dims:
        require(dim.name in sizes, f"dimension {dim.name}: no input and no state has it")


def _check_inputs(program: Program) -> None:
    require(bool(program.inputs), "inputs: need at least one")
    _check_names("inputs", [given.name for given in program.inputs])
    values = {value.name for value in program.values}
    read = {op.x for op in program.ops if isinstance(op, Quantize | Read)}
    for given in program.inputs:
        check_input(given)
        require(given.name not in values, f"values: {given.name!r} is the name of an input of the program")
        require(given.name in read, f"input {given.name}: no instruction reads it")


def _check_outputs(ops: tuple[Operator, ...]) -> None:
    names = [op.name for op in ops if isinstance(op, Dequantize)]
    require(bool(names), "ops: need at least one Dequantize, which makes an output")
    _check_names("outputs", names)


def _check_state(state: State, ops: tuple[Operator, ...], space: Space) -> None:
    where = f"state {state.name}"
    check_value(state.as_value(state.name), space, "state")
    require(state.lo <= state.zero <= state.hi, f"{where}: its start, {state.zero}, is not in [{state.lo}, {state.hi}]")
    stores = [i for i, op in enumerate(ops) if isinstance(op, Store) and op.state == state.name]
    recalls = [i for i, op in enumerate(ops) if isinstance(op, Recall) and op.state == state.name]
    require(len(stores) == 1, f"{where}: {len(stores)} Store instructions, need one")
    require(bool(recalls), f"{where}: no instruction recalls it")
    require(recalls[-1] < stores[0], f"{where}: op {recalls[-1]} recalls it after op {stores[0]} stores it")
