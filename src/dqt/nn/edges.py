"""Which quantizer the codes of a value come from, and how it is called among the network's modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from dqt.nn.graph import Node


def edge_key(name: str) -> str:
    """The name of an edge in ``Net.edges``, one to one: no dot in it, and nothing that ``ModuleDict`` itself is called.

    ``/`` stands for a dot; ``~0`` and ``~1`` for ``~`` and ``/``, as in a JSON pointer.
    """
    key = name.replace("~", "~0").replace("/", "~1").replace(".", "/")
    return f"{key}/" if hasattr(nn.ModuleDict, key) or key == "training" else key


def edge_owners(inputs: Iterable[str], nodes: Iterable[Node], states: Mapping[str, str]) -> dict[str, str]:
    """Value -> the value that its codes were made as: itself, unless it keeps the codes of another.

    Args:
        states: input -> the value that it becomes in the next run, so that both have one quantizer: that of the value.
    """
    owners = {name: name for name in inputs}
    for node in nodes:
        owners[node.out] = owners[node.ins[0]] if node.edge == "same" else node.out
    for state, value in states.items():
        owner = owners[value]
        owners = {name: owner if each == state else each for name, each in owners.items()}
    return owners
