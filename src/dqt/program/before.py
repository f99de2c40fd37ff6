"""Files of version 1, which had one input, one output and two kinds of values: their graph becomes one of version 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.program.errors import ProgramError, require
from dqt.program.ops.quantize import plain_gain
from dqt.program.values import INPUT, OUTPUT, SCALE_MAX, SCALE_MIN

if TYPE_CHECKING:
    import numpy.typing as npt

Graph = dict[str, Any]
Tensors = dict[str, "npt.NDArray[Any]"]
WIDE = 2**23 - 1
"""Integers of version 1, called wide, lay within 24 bits."""
GRAPH = ("input_shape", "space", "values", "ops", "info")
VALUE = ("name", "shape", "step", "zero", "wide")


def upgraded(graph: Any, tensors: Tensors) -> tuple[Graph, Tensors]:
    """The graph of a file of version 1, and its tensors, as version 2 has them: the same integers.

    What version 1 did not have is refused; everything else is checked by whoever reads the result.

    Raises:
        ProgramError: a field is missing or unknown, a value or an instruction is none of version 1.
    """
    check_keys(graph, GRAPH, "graph")
    tensors, master = dict(tensors), _master(graph["space"])
    old = check_list(graph["values"], "values")
    values = [_value(value, master, f"values[{i}]") for i, value in enumerate(old)]
    ops = check_list(graph["ops"], "ops")
    _check_ends(ops)
    by_name = {value["name"]: value for value in values}
    made = [_op(op, f"op {i}", by_name, tensors) for i, op in enumerate(ops)]
    given = {"name": INPUT, "shape": graph["input_shape"], "kind": "float", "lo": 0, "hi": 0, "dims": []}
    rest = {"space": graph["space"], "info": graph["info"], "states": [], "dims": []}
    return {"inputs": [given], "values": values, "ops": made, **rest}, tensors


def _master(space: Any) -> int:
    master = space.get("master") if isinstance(space, dict) else None
    require(type(master) is int and 1 <= master <= 8, f"space: master {str(master)[:40]}, need 1 to 8")
    assert type(master) is int
    return master


def _value(value: Any, master: int, where: str) -> Graph:
    check_keys(value, VALUE, where)
    require(type(value["name"]) is str, f"{where}.name: need text")
    require(type(value["wide"]) is bool, f"{where}.wide: need true or false")
    wide, zero = value["wide"], value["zero"]
    zeros = (0,) if wide else (0, 1 << (master - 1))
    require(type(zero) is int and zero in zeros, f"{where}: zero {str(zero)[:40]}, in version 1 need one of {zeros}")
    lo, hi = (-WIDE, WIDE) if wide else (0, (1 << master) - 1)
    return {"name": value["name"], "shape": value["shape"], "scale": value["step"], "zero": zero, "lo": lo, "hi": hi}


def _check_ends(ops: list[Any]) -> None:
    """One Quantize, as the first, and one Dequantize, as the last: version 1 had one input and one output."""
    names = [op.get("op") if isinstance(op, dict) else None for op in ops]
    ends = bool(ops) and names[0] == "Quantize" and names[-1] == "Dequantize"
    once = names.count("Quantize") == names.count("Dequantize") == 1
    require(ends and once, "ops: in version 1 need one Quantize, as the first, and one Dequantize, as the last")


def _op(op: Any, where: str, values: Mapping[str, Graph], tensors: Tensors) -> Graph:
    name = op.get("op") if isinstance(op, dict) else None
    if not isinstance(name, str) or name not in FIELDS:
        raise ProgramError(f"{where}: operator {str(name)[:40]!r} is none of version 1, which had {', '.join(FIELDS)}")
    check_keys(op, ("op", *FIELDS[name]), f"{where} {name}")
    return {**op, **_more(name, op, f"{where} {name}", values, tensors)}


def _more(name: str, op: Graph, where: str, values: Mapping[str, Graph], tensors: Tensors) -> Graph:
    """What version 2 says beside the fields of version 1."""
    if name == "Quantize":
        return _quantize(op, where, _declared(op["out"], where, values), tensors)
    if name == "Reshape":
        return {"shape": _declared(op["out"], where, values)["shape"]}
    if name == "Constant":
        return _constant(op, where, tensors)
    if name in ("Conv", "Linear"):
        return {"nearest": False, "weight_exponents": [], "input_exponents": []}
    return {"name": OUTPUT} if name == "Dequantize" else {}


def _quantize(op: Graph, where: str, out: Graph, tensors: Tensors) -> Graph:
    require(op["x"] == INPUT, f"{where}: reads {str(op['x'])[:80]!r}, in version 1 need {INPUT!r}")
    scale = out["scale"]
    legal = type(scale) is float and SCALE_MIN <= scale <= SCALE_MAX
    require(legal, f"value {str(out['name'])[:80]}: scale {str(scale)[:40]} is not in [2^-100, 2^100]")
    names = {field: f"{op['out']}.{field}" for field in ("gain", "bias")}
    for field, name in names.items():
        require(name not in tensors, f"{where}: tensor {name!r} belongs to no instruction")
        tensors[name] = plain_gain(scale)[field == "bias"]
    return {**names, "axis": 0}


def _constant(op: Graph, where: str, tensors: Tensors) -> Graph:
    data = tensors.get(str(op["data"]))
    if data is not None:
        require(data.dtype == np.uint8, f"{where}: tensor {str(op['data'])[:80]!r} is {data.dtype}, need uint8")
        tensors[str(op["data"])] = data.astype(np.int32)
    return {"dims": []}


def _declared(name: Any, where: str, values: Mapping[str, Graph]) -> Graph:
    if not isinstance(name, str) or name not in values:
        raise ProgramError(f"{where}: defines {str(name)[:80]!r}, which is not declared among the values")
    return values[name]


ROUNDED = ("shift", "lo", "hi")
LAYER = ("layer", "x", "out", "weight", "m", "c", *ROUNDED)
FIELDS: dict[str, tuple[str, ...]] = {
    "Add": ("a", "b", "out", "k1", "k2", "k3", *ROUNDED),
    "AvgPool": ("x", "out", "rows", "columns", "m", "c", *ROUNDED),
    "Choose": ("x", "layers", "widths"),
    "Concat": ("xs", "out", "axis"),
    "Constant": ("out", "data"),
    "Conv": (*LAYER, "stride", "padding", "dilation", "groups"),
    "Dequantize": ("x",),
    "Linear": LAYER,
    "MaxPool": ("x", "out", "kernel", "stride", "padding", "dilation"),
    "Multiply": ("a", "b", "out", "k1", "k2", "k3", "k4", *ROUNDED),
    "Pad": ("x", "out", "before", "after"),
    "Quantize": ("x", "out"),
    "Rescale": ("x", "out", "m", "c", *ROUNDED),
    "Reshape": ("x", "out"),
    "Slice": ("x", "out", "starts", "stops", "steps"),
    "Table": ("x", "out", "table"),
    "Transpose": ("x", "out", "axes"),
}
"""The operators of version 1 and their fields."""


def check_list(data: Any, where: str) -> list[Any]:
    """``data``, which must be a list."""
    if not isinstance(data, list):
        raise ProgramError(f"{where}: need a list")
    return data


def check_keys(data: Any, names: Iterable[str], where: str) -> None:
    """``data`` must be an object with these fields and no other."""
    if not isinstance(data, dict):
        raise ProgramError(f"{where}: need an object")
    wrong = sorted(set(data) ^ set(names))
    if wrong:
        state = "is missing" if wrong[0] not in data else "is unknown"
        raise ProgramError(f"{where}: field {wrong[0][:80]!r} {state}")
