"""The nodes of an ONNX graph in the making, and names for its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dqt.export.packages import package
from dqt.program.program import Program


class Nodes:
    """Nodes so far, of a program whose values are tensors of their names.

    Attributes:
        values: the program's values by name.   names: what tensors are called already.
    """

    def __init__(self, program: Program, taken: set[str]) -> None:
        self.onnx = package("onnx")
        self.program = program
        self.values = {value.name: value for value in program.values}
        self.nodes: list[Any] = []
        self.names = taken | set(self.values)

    def name(self, base: str) -> str:
        """A name that no other tensor has."""
        name, count = base, 0
        while name in self.names:
            count += 1
            name = f"{base}.{count}"
        self.names.add(name)
        return name

    def node(self, kind: str, ins: Sequence[str], out: str = "", also: int = 0, **attributes: Any) -> str:
        """Append a node; the name of its result: ``out``, a value's own name, or one that is made up.

        ``also``: how many results it has beside this one, which nobody reads.
        """
        out = out or self.name(kind.lower())
        outs = [out, *(self.name(f"{out}.also") for _ in range(also))]
        self.nodes.append(self.onnx.helper.make_node(kind, list(ins), outs, name=f"{out}:{kind}", **attributes))
        return out

    def cast(self, tensor: str, kind: str) -> str:
        """The tensor in another type, named as in ONNX: "INT32", "DOUBLE"."""
        return self.node("Cast", [tensor], to=getattr(self.onnx.TensorProto, kind))
