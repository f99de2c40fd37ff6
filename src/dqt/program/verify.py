"""The verifier: a program that passes cannot crash, overflow, or allocate without reason when it is executed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dqt.arith.plan import Layer, Space
from dqt.program.borders import check_borders
from dqt.program.errors import ProgramError, require
from dqt.program.graph import DECISIONS
from dqt.program.operator import Operator, Scope, operators
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.conv import Conv
from dqt.program.planned import Planned
from dqt.program.schema import check_json, check_shape, check_type
from dqt.program.values import Dimension, Input, State, Value, check_value

if TYPE_CHECKING:
    from dqt.program.program import Program

PARTS = {
    "values": tuple[Value, ...],
    "inputs": tuple[Input, ...],
    "states": tuple[State, ...],
    "dims": tuple[Dimension, ...],
}


def verify(program: Program) -> None:
    """Check everything that execution relies on: types, order, shapes, ranges, scales, counts, and overflow.

    Raises:
        ProgramError: the first thing that is wrong, by instruction and value.
    """
    _check_types(program)
    _check_space(program.space)
    for value in program.values:
        check_value(value, program.space)
    check_borders(program)
    _check_order(program.ops, program.values)
    scope = Scope.of(program)
    for index, op in enumerate(program.ops):
        _check_op(index, op, scope)
    _check_padded(program.ops, scope.values)
    _check_layers(program.ops, program.space, scope.values)
    _check_choose(program.ops, program.space)


def _check_types(program: Program) -> None:
    check_type(program.space, Space, "space")
    for name, hint in PARTS.items():
        check_type(getattr(program, name), hint, name)
    require(isinstance(program.info, Mapping), "info: need a mapping")
    check_json(program.info, "info")
    require(type(program.ops) is tuple, "ops: need a tuple of instructions")
    for index, op in enumerate(program.ops):
        require(type(op) in operators().values(), f"op {index}: {type(op).__name__} is not an instruction")
        check_type(op, type(op), f"op {index} {type(op).__name__}")


def _check_space(space: Space) -> None:
    names = [layer.name for layer in (*space.layers, *space.controller)]
    require(len(set(names)) == len(names), "space: a layer is named twice among layers and controller")
    ascending = tuple(sorted(set(space.choices))) == space.choices
    legal = ascending and set(space.choices) <= set(space.widths)
    require(legal, f"space: choices {space.choices}, need an ascending part of the widths {space.widths}")
    require(bool(space.choices) or not space.controller, "space: controller layers, but no choices")


def _check_order(ops: tuple[Operator, ...], values: tuple[Value, ...]) -> None:
    """Every value defined once, in the order of ``values``, before it is read."""
    declared = [value.name for value in values]
    defined: set[str] = set()
    for index, op in enumerate(ops):
        for name in op.reads():
            require(name in defined, f"{op.title(index)}: reads {name!r} before an instruction defines it")
        out = op.writes()
        if out is not None:
            require(out not in defined, f"{op.title(index)}: defines {out!r} a second time")
            expected = declared[len(defined)] if len(defined) < len(declared) else None
            require(out == expected, f"{op.title(index)}: defines {out!r}, but the next declared value is {expected!r}")
            defined.add(out)
    require(len(defined) == len(declared), f"values: no instruction defines {declared[len(defined) :][:1]}")


def _check_op(index: int, op: Operator, scope: Scope) -> None:
    try:
        shape = op.output_shape(scope)
        out = op.writes()
        if out is not None:
            declared = scope.values[out].shape
            require(shape == declared, f"its output has shape {shape}, but {out} is declared as {declared}")
        op.prove(scope)
    except ProgramError as error:
        raise ProgramError(f"{op.title(index)}: {error}") from None


def _check_padded(ops: tuple[Operator, ...], values: Mapping[str, Value]) -> None:
    """A value lies in memory with a border for all the convolutions that read it; each needs no more than it pads."""
    borders: dict[str, tuple[int, ...]] = {}
    for op in ops:
        if isinstance(op, Conv):
            before = borders.get(op.x, (0, 0, 0, 0))
            borders[op.x] = tuple(max(a, b) for a, b in zip(before, op.padding, strict=True))
    for name, (top, bottom, left, right) in borders.items():
        channels, height, width = values[name].shape
        padded = (channels, height + top + bottom, width + left + right)
        check_shape(padded, f"value {name}, padded for all its readers")


def _check_layers(ops: tuple[Operator, ...], space: Space, values: Mapping[str, Value]) -> None:
    """Every layer of the space has one instruction, with the counts that the space states, and the reverse."""
    stated = {layer.name: layer for layer in (*space.layers, *space.controller)}
    found = Counter(op.layer for op in ops if isinstance(op, Planned))
    for name, count in found.items():
        require(name in stated, f"layer {name}: not among the space's layers or controller")
        require(count == 1, f"layer {name}: {count} instructions, need one")
    for name in stated:
        require(name in found, f"layer {name}: in the space, but no instruction is this layer")
    for op in ops:
        if isinstance(op, Planned):
            _check_counts(stated[op.layer], op.counts(values, edge=stated[op.layer].edge))


def _check_counts(stated: Layer, counted: Layer) -> None:
    for what in ("macs", "weights", "inputs", "outputs"):
        a, b = getattr(stated, what), getattr(counted, what)
        require(a == b, f"layer {stated.name}: the space states {a} {what}, its instruction has {b}")


def _check_choose(ops: tuple[Operator, ...], space: Space) -> None:
    """One Choose where the space has choices, and none of the layers that it governs before it.

    Where it has samples run again, all of them have run before it.
    """
    where = list(_positions(ops))
    count = 1 if space.choices else 0
    require(len(where) == count, f"{len(where)} Choose instructions, need {count} for the choices {space.choices}")
    if not where:
        return
    choice = ops[where[0]]
    governed = set(getattr(choice, "layers", ()))
    again = isinstance(choice, ChooseLate) and choice.again
    for index, op in enumerate(ops):
        if isinstance(op, Planned) and op.layer in governed:
            wrong = (index < where[0]) != again
            side = "after the ChooseLate that reads what it gave" if again else "before the Choose that sets its width"
            require(not wrong, f"{op.title(index)}: comes {side}")


def _positions(ops: tuple[Operator, ...]) -> Iterator[int]:
    return (index for index, op in enumerate(ops) if isinstance(op, DECISIONS))
