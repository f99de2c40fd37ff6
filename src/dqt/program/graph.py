"""A program as a graph: which instructions a run needs, and how long their results live."""

from __future__ import annotations

from collections.abc import Sequence

from dqt.program.operator import Operator
from dqt.program.ops.choose import Choose
from dqt.program.ops.choose_late import ChooseLate

DECISIONS = (Choose, ChooseLate)
"""What sets widths by sample, under the plan "auto" alone."""


def needed(ops: Sequence[Operator], *, auto: bool) -> tuple[Operator, ...]:
    """The instructions that a run executes: those that lead to outputs, to states and, if ``auto``, to a choice."""
    live: set[str] = set()
    kept: list[Operator] = []
    for op in reversed(ops):
        ends = op.writes() is None and (auto or not isinstance(op, DECISIONS))
        if ends or op.writes() in live:
            live.update(op.reads())
            kept.append(op)
    return tuple(reversed(kept))


def last_reads(ops: Sequence[Operator]) -> tuple[tuple[str, ...], ...]:
    """For each instruction, the values that no later one reads: they are freed after it."""
    seen: set[str] = set()
    dead: list[tuple[str, ...]] = []
    for op in reversed(ops):
        names = dict.fromkeys(name for name in op.reads() if name not in seen)
        dead.append(tuple(names))
        seen.update(names)
    return tuple(reversed(dead))
