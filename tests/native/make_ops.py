"""Writes ``csrc/ir/ops.inc``: the operators and their fields for C++, from the dataclasses of ``dqt.program.ops``.

python -m tests.native.make_ops
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from dqt.program.operator import Operator, operators
from dqt.program.schema import array_dtype, field_types

LIST = Path(__file__).parents[2] / "csrc" / "ir" / "ops.inc"
INDICES = {"out": "Result", "layer": "LayerIndex", "layers": "LayerIndices"}
"""Fields that name something else than a value which is read. Every other text stays text."""
HEAD = """\
// Every operator of a program with its fields, in the order of dqt/program/ops. Written from there, not by hand:
//
//     python -m tests.native.make_ops
//
// A file that includes this list says with macros what becomes of it. DQT_PROOF: the operator has something to prove.
#ifndef DQT_FIELD
#define DQT_FIELD(type, field)
#endif
#ifndef DQT_PROOF
#define DQT_PROOF
#endif
#ifndef DQT_END
#define DQT_END(name)
#endif
"""
FOOT = """
#undef DQT_OPERATOR
#undef DQT_FIELD
#undef DQT_PROOF
#undef DQT_END
"""


def listing() -> str:
    """The text of the list."""
    found = operators()
    return HEAD + "".join("\n" + "\n".join(_lines(found[name])) + "\n" for name in sorted(found)) + FOOT


def _lines(cls: type[Operator]) -> Iterator[str]:
    yield f"DQT_OPERATOR({cls.__name__})"
    for name, hint in field_types(cls).items():
        yield f"DQT_FIELD({_type(cls, name, hint)}, {name})"
    if cls.prove is not Operator.prove:
        yield "DQT_PROOF"
    yield f"DQT_END({cls.__name__})"


def _type(cls: type[Operator], name: str, hint: Any) -> str:
    """The type in C++ of a field, as ``csrc/ir/program.h`` defines it."""
    if (dtype := array_dtype(hint)) is not None:
        return f"Array<{dtype.name}_t>"
    if name in cls.OPERANDS and hint in {str, tuple[str, ...]}:
        return "Operand" if hint is str else "Operands"
    if get_origin(hint) is tuple and set(get_args(hint)) <= {int, Ellipsis}:
        return "Numbers" if Ellipsis in get_args(hint) else f"Integers<{len(get_args(hint))}>"
    found = {int: "int64_t", bool: "bool", str: INDICES.get(name, "Text"), tuple[str, ...]: INDICES.get(name)}.get(hint)
    if found is None:
        raise TypeError(f"{cls.__name__}.{name}: {hint} has no form in C++; give it one here and in csrc/ir/decode.cc")
    return found


if __name__ == "__main__":
    LIST.write_text(listing())
