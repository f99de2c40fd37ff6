"""Steps whose results nobody needs."""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import Graph, needed_for


def drop_unused(graph: Graph) -> Graph:
    """Without the steps that do not lead to the output."""
    needed = needed_for(graph.steps, (graph.output,))
    return replace(graph, steps=tuple(step for step in graph.steps if step.out in needed))
