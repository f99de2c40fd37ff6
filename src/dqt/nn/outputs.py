"""What a prepared network gives: its outputs by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dqt.nn.structure import Structure, dotted


@dataclass(frozen=True)
class Output:
    """One output: its name, and the value of the network that it is."""

    name: str
    value: str


def named_outputs(structure: Structure, values: Sequence[str]) -> tuple[Output, ...]:
    """Outputs by the keys, fields and positions that lead to them; a single one without a key is called ``output``."""
    paths = structure.paths
    alone = len(paths) == 1 and not any(isinstance(key, str) for key in paths[0])
    names = ["output"] if alone else [dotted(path) for path in paths]
    return tuple(Output(name, value) for name, value in zip(names, values, strict=True))
