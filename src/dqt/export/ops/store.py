"""Integers for the next run."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.export.names import state_out
from dqt.program.ops.store import Store

OPERATOR = Store


def add(g: Graph, op: Store) -> None:
    """A state is an output of its integers, int32."""
    g.node("Identity", [g.int32(op.x)], state_out(op.state))
