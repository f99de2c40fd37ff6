"""What a prepared network takes and gives: inputs and outputs by name, and which of them are states of its program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dqt.nn.errors import UnsupportedError
from dqt.nn.inputs import Inputs
from dqt.nn.structure import Structure, dotted


@dataclass(frozen=True)
class Output:
    """One output: its name, and the value of the network that it is."""

    name: str
    value: str


@dataclass(frozen=True)
class Signature:
    """The two sides of a network.

    Attributes:
        inputs: what it takes.   outputs: what it gives, in order.
        structure: what the model returns its tensors in.
        states: input -> place of the output that is this input in the next run.
    """

    inputs: Inputs
    outputs: tuple[Output, ...]
    structure: Structure
    states: Mapping[str, int] = field(default_factory=dict)

    def at(self, sizes: Mapping[str, int]) -> Signature:
        """At other sizes of named dimensions."""
        return replace(self, inputs=self.inputs.at(sizes))

    @property
    def kept(self) -> dict[str, str]:
        """Input that is a state -> the value that it becomes."""
        return {name: self.outputs[place].value for name, place in self.states.items()}

    @property
    def shown(self) -> tuple[Output, ...]:
        """The outputs of the program: those that are no state."""
        return tuple(output for i, output in enumerate(self.outputs) if i not in self.states.values())


def output_names(structure: Structure) -> list[str]:
    """Outputs by the keys, fields and positions that lead to them; a single one without a key is called ``output``."""
    paths = structure.paths
    alone = len(paths) == 1 and not any(isinstance(key, str) for key in paths[0])
    return ["output"] if alone else [dotted(path) for path in paths]


def states_of(given: Mapping[str, str] | None, inputs: Inputs, outputs: Sequence[str]) -> dict[str, int]:
    """Input -> place of the output that it becomes, from the names that a user gave.

    Raises:
        UnsupportedError: no such input or output, an input of integers, or nothing else is returned.
    """
    found: dict[str, int] = {}
    for name, output in (given or {}).items():
        if name not in inputs.aliases:
            raise UnsupportedError(f"state names the input {name!r}: the model takes {inputs.listed}")
        one = inputs.each[inputs.aliases[name]]
        if str(output) not in outputs:
            listed = ", ".join(map(repr, outputs))
            raise UnsupportedError(f"state {name!r} is to become the output {output!r}: the model gives {listed}")
        if one.kind == "integer":
            raise UnsupportedError(f"state {name!r} is an input of integers: a state holds codes of floats")
        found[one.name] = outputs.index(str(output))
    if found and len(set(found.values())) == len(outputs):
        raise UnsupportedError("every output of the model is to become a state: return what a run is for, too")
    if found and len(found) == len(inputs.each):
        raise UnsupportedError("every input of the model is a state: there must be one that a run is given")
    return found
