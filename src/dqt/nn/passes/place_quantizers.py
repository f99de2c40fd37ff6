"""Which values become unsigned codes: those that are never negative gain a bit of resolution."""

from __future__ import annotations

from dataclasses import replace

from dqt.nn.graph import INPUT, Graph, Step
from dqt.nn.operator import operators

POSITIVE = {"relu", "unsigned"}


def place_quantizers(graph: Graph, *, input_signed: bool) -> Graph:
    """Sums, products, averages and joins of values that are never negative are never negative.

    Args:
        input_signed: whether the network's input has negative values.
    """
    positive = set() if input_signed else {INPUT}
    steps: list[Step] = []
    for step in graph.steps:
        inherits = operators()[step.kind].keeps_sign or step.edge == "same"
        if inherits and step.edge in ("signed", "same") and positive.issuperset(step.ins):
            positive.add(step.out)
            steps.append(replace(step, edge="unsigned") if step.edge == "signed" else step)
            continue
        if step.edge in POSITIVE:
            positive.add(step.out)
        steps.append(step)
    return replace(graph, steps=tuple(steps))
