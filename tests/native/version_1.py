"""Files of version 1, made of a program: what version 1 could not say is left out, so that the integers are others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from dqt.program.before import FIELDS, VALUE, WIDE
from dqt.program.container import digest
from dqt.program.file import dumps
from dqt.program.program import Program
from tests.program.test_file import assemble, header

Graph = dict[str, Any]
Tensors = dict[str, Any]


def version_1(
    program: Program,
    change: str | Callable[[Graph], Any] | None = None,
    damage: Callable[[Tensors], Any] | None = None,
) -> bytes:
    """The file, with a changed graph, or one text in its place, with damaged tensors, and a digest that fits."""
    data = dumps(program)
    graph, tensors = json.loads(header(data)[0]["__metadata__"]["graph"]), load_tensors(data)
    (given,) = graph["inputs"]
    old: Graph = {
        "input_shape": given["shape"],
        "space": graph["space"],
        "values": [value_of(value) for value in graph["values"]],
        "ops": [op_of(op, tensors) for op in graph["ops"]],
        "info": graph["info"],
    }
    if callable(change):
        change(old)
    if damage:
        damage(tensors)
    text = change if isinstance(change, str) else json.dumps(old)
    head, body = header(save_tensors(tensors))
    meta = {"format": "dqt", "graph": text, "sha256": digest(text, tensors), "version": "1"}
    return assemble({"__metadata__": meta, **head}, body)


def value_of(value: Graph) -> Graph:
    """Zero points and intervals that version 1 had not become those that it had."""
    wide = not (value["lo"] == 0 and value["hi"] <= 255)
    middle = (value["hi"] + 1) // 2
    zero = value["zero"] if not wide and value["zero"] in (0, middle) else 0
    made = {"name": value["name"], "shape": value["shape"], "step": value["scale"], "zero": zero, "wide": wide}
    assert tuple(made) == VALUE
    return made


def op_of(op: Graph, tensors: Tensors) -> Graph:
    for name in set(op) - set(FIELDS[op["op"]]) - {"op"}:
        if isinstance(op[name], str):
            tensors.pop(op[name], None)
    if op["op"] == "Constant":
        tensors[op["data"]] = tensors[op["data"]].astype(np.uint8)
    if "layer" in op:
        op |= {"lo": max(op["lo"], -WIDE), "hi": min(op["hi"], WIDE)}
    return {name: op[name] for name in ("op", *FIELDS[op["op"]])}
