"""Which quantizer the codes of a value come from, and how it is called among the network's modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from dqt.nn.graph import Node


def quantizer_key(name: str) -> str:
    """The name of a quantizer in ``Net.quantizers``, one to one: no dot, and nothing that ``ModuleDict`` has itself.

    ``/`` stands for a dot; ``~0`` and ``~1`` for ``~`` and ``/``, as in a JSON pointer.
    """
    key = name.replace("~", "~0").replace("/", "~1").replace(".", "/")
    return f"{key}/" if hasattr(nn.ModuleDict, key) or key == "training" else key


def quantizer_owners(inputs: Iterable[str], nodes: Iterable[Node], states: Mapping[str, str]) -> dict[str, str]:
    """Value -> the value that its codes were made as: itself, unless it keeps the codes of another.

    Args:
        states: input -> the value that it becomes in the next run, so that both have one quantizer: that of the value.
    """
    owners = {name: name for name in inputs}
    for node in nodes:
        owners[node.out] = owners[node.ins[0]] if node.quantizer == "same" else node.out
    for state, value in states.items():
        owner = owners[value]
        owners = {name: owner if each == state else each for name, each in owners.items()}
    return owners


def read_as_floats(inputs: Iterable[str], nodes: Iterable[Node], outputs: Iterable[str]) -> frozenset[str]:
    """The inputs that nobody reads in codes of their own: a multiply-add before the codes, which has a quantizer."""
    kinds: dict[str, set[str]] = {name: set() for name in inputs}
    for node in nodes:
        for name in set(node.ins) & kinds.keys():
            kinds[name].add(node.kind)
    made = {name for name, found in kinds.items() if found - {"constant"} == {"standardize"}}  # a constant takes a size
    return frozenset(made - set(outputs))


def name_as_now(_: nn.Module, state: dict[str, Any], prefix: str, *_rest: object) -> None:
    """Give the quantizers of an older state dict, ``edges``, their name of today; a hook before it is loaded."""
    before = f"{prefix}edges."
    for key in [key for key in state if key.startswith(before)]:
        state[f"{prefix}quantizers.{key.removeprefix(before)}"] = state.pop(key)
