"""The C form of each operator: the call of the library that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dqt.export.c99 import attention, elementwise, layer, move, reduce
from dqt.export.c99.code import RANK, Code
from dqt.export.packages import ExportError
from dqt.program.operator import Operator

Form = Callable[[Code, Any], None]


def forms() -> Mapping[type[Operator], Form]:
    """Operator -> what appends its call."""
    return {**attention.FORMS, **elementwise.FORMS, **layer.FORMS, **move.FORMS, **reduce.FORMS}


def add(code: Code, op: Operator) -> None:
    """Append an instruction.

    Raises:
        ExportError: it has no C form; says what to do.
    """
    form = forms().get(type(op))
    if form is None:
        advice = "leave it outside the network, or serve the program with dqt.Runtime"
        raise ExportError(f"{type(op).__name__} '{op.writes()}' has no C form: {advice}")
    for name in (*op.reads(), *filter(None, [op.writes()])):
        rank = len(code.values[name].shape)
        if rank > RANK:
            raise ExportError(f"{name} has {rank} dimensions, the C form has at most {RANK}: reshape it to fewer")
    form(code, op)
