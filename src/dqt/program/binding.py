"""Named dimensions: a program for other sizes, made instruction by instruction, and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from dqt.arith.errors import InputError
from dqt.arith.plan import Space
from dqt.arith.whole import index
from dqt.program.errors import ProgramError
from dqt.program.operator import Operator, Scope
from dqt.program.planned import Planned
from dqt.program.values import Value, resized

if TYPE_CHECKING:
    from dqt.program.program import Program

KEPT = 32
"""Bindings of one program that are kept; the oldest goes."""
_BOUND: WeakKeyDictionary[Program, dict[tuple[tuple[str, int], ...], Program]] = WeakKeyDictionary()


def bound(program: Program, sizes: Mapping[str, int]) -> Program:
    """See :meth:`Program.bind`."""
    whole = program.sizes | _checked(program, sizes)
    if whole == program.sizes:
        return program
    kept, key = _BOUND.setdefault(program, {}), tuple(sorted(whole.items()))
    found = kept.get(key)
    if found is None:
        found = kept[key] = _made(program, whole)
        for old in list(kept)[:-KEPT]:
            kept.pop(old, None)
    return found


def _checked(program: Program, sizes: Mapping[str, int]) -> dict[str, int]:
    dims, checked = {dim.name: dim for dim in program.dims}, {}
    for name, given in sizes.items():
        if name not in dims:
            raise InputError(f"no dimension {name!r}: this program has {', '.join(dims) or 'no named dimensions'}")
        size, least, most = index(given), dims[name].least, dims[name].most
        if size is None or not least <= size <= most:
            raise InputError(f"dimension {name} is {given}: this program takes {least} to {most}")
        checked[name] = size
    return checked


def _made(program: Program, sizes: Mapping[str, int]) -> Program:
    inputs = tuple(resized(given, sizes) for given in program.inputs)
    states = tuple(resized(state, sizes) for state in program.states)
    values, before = {value.name: value for value in program.values}, Scope.of(program)
    scope = replace(
        before,
        values=values,
        inputs={given.name: given for given in inputs},
        states={state.name: state for state in states},
        sizes=sizes,
        before=before.values,
    )
    try:
        ops = tuple(_rebound(i, op, scope, values) for i, op in enumerate(program.ops))
        space = _counted(program, ops, values)
        return replace(program, space=space, values=tuple(values.values()), ops=ops, inputs=inputs, states=states)
    except ProgramError as error:
        words = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise InputError(f"this program cannot take {words}: {error}") from None


def _rebound(position: int, op: Operator, scope: Scope, values: dict[str, Value]) -> Operator:
    """The instruction for the new sizes; the shape of its result goes into ``values``."""
    try:
        new = op.rebound(scope)
        shape, out = new.output_shape(scope), new.writes()
    except ProgramError as error:
        raise ProgramError(f"{op.title(position)}: {error}") from None
    if out is not None:
        values[out] = replace(values[out], shape=shape)
    return new


def _counted(program: Program, ops: tuple[Operator, ...], values: Mapping[str, Value]) -> Space:
    """The space with what each layer costs at the new sizes."""
    space = program.space
    edges = {layer.name for layer in space.layers if layer.edge}
    found = {op.layer: op.counts(values, edge=op.layer in edges) for op in ops if isinstance(op, Planned)}
    layers, controller = (tuple(found[layer.name] for layer in part) for part in (space.layers, space.controller))
    return replace(space, layers=layers, controller=controller)
