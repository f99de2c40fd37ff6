"""Files of version 1: the same integers, and one error for each that lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dqt
from dqt.arith.plan import PlanLike
from dqt.program.file import dumps, outline
from dqt.program.interpret import execute
from dqt.program.program import Program, ProgramError, loads
from dqt.program.signature import Signature
from dqt.testing import Builder, inputs
from tests.native.version_1 import version_1
from tests.program.test_file import header


def plain(auto: bool = False) -> Program:
    """A program of all that version 1 had: zeros 0 and 2^(n-1), one input and one output."""
    b = Builder(4, (2, 5, 6), widths=(1, 2, 8), signed=True)  # the grid of 1 bit has no other zeros
    x = b.conv("v0", 4)
    if auto:
        b.control(x, 1, (2, 8))
    x = b.conv(x, 4, groups=2)
    x = b.table(x)
    x = b.concat([x, b.max_pool(b.pad(x, (0, 1, 1), (0, 0, 0)), (2, 2), (1, 1))])
    x = b.transpose(b.slice(x, (0, 1, 0), (8, 4, 6), (2, 1, 1)), (1, 0, 2))
    return b.build(b.linear(b.flatten(b.avg_pool(b.rescale(x))), 3, integers=True), choices=(2, 8) if auto else ())


@pytest.mark.parametrize("auto", [False, True])
def test_the_integers_stay(auto: bool) -> None:
    program = plain(auto)
    old = version_1(program)
    again = loads(old)
    x = inputs(program, 5)
    plans: list[PlanLike] = [*program.space.widths, "auto" if auto else None]
    for plan in plans:
        assert_array_equal(execute(again, x, plan).codes, execute(program, x, plan).codes)
    assert dumps(again) == dumps(program)  # and version 2 writes it as its own
    assert outline(old)[0] == Signature.of(program)


def test_the_engine_reads_it_by_path(tmp_path: Any) -> None:
    path = tmp_path / "old.dqt"
    path.write_bytes(version_1(plain()))
    x = inputs(plain(), 4)
    assert_array_equal(dqt.Runtime(path, threads=1).codes(x, 2), execute(plain(), x, 2).codes)


def test_the_shipped_example_is_of_version_1() -> None:
    assert header(Path(dqt.example()).read_bytes())[0]["__metadata__"]["version"] == "1"
    program = dqt.Program.load(dqt.example())
    assert [one.name for one in program.inputs] == ["input"]
    assert [out.name for out in program.outputs] == ["output"]


def first(graph: dict[str, Any], name: str) -> dict[str, Any]:
    return next(op for op in graph["ops"] if op["op"] == name)


LIES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a field of version 2": (lambda g: g.update(inputs=[]), "graph: field 'inputs' is unknown"),
    "no input shape": (lambda g: g.pop("input_shape"), "graph: field 'input_shape' is missing"),
    "values of version 2": (lambda g: g["values"][0].update(lo=0), r"values\[0\]: field 'lo' is unknown"),
    "a scale": (lambda g: g["values"][0].update(scale=1.0), r"values\[0\]: field 'scale' is unknown"),
    "another zero": (lambda g: g["values"][0].update(zero=64), "zero 64, in version 1 need one of"),
    "a wide value with a zero": (lambda g: g["values"][-1].update(zero=128), "zero 128, in version 1 need one of"),
    "wide as a number": (lambda g: g["values"][0].update(wide=0), "wide: need true or false"),
    "a name that is no text": (lambda g: g["values"][0].update(name=[]), "name: need text"),
    "a scale of 0": (lambda g: g["values"][0].update(step=0.0), "scale 0.0 is not in"),
    "a scale of text": (lambda g: g["values"][0].update(step="1"), "scale 1 is not in"),
    "two inputs": (lambda g: g["ops"].insert(1, dict(g["ops"][0])), "one Quantize, as the first"),
    "no output": (lambda g: g["ops"].pop(), "one Dequantize, as the last"),
    "another input": (lambda g: first(g, "Quantize").update(x="image"), "reads 'image', in version 1 need 'input'"),
    "an operator of version 2": (lambda g: g["ops"].insert(1, {"op": "Read"}), "operator 'Read' is none of version 1"),
    "an unknown operator": (lambda g: g["ops"].insert(1, {"op": "Eval"}), "operator 'Eval' is none of version 1"),
    "a field of an operator": (lambda g: first(g, "Conv").update(nearest=True), "Conv: field 'nearest' is unknown"),
    "a shape of a reshape": (lambda g: first(g, "Reshape").update(shape=[1]), "Reshape: field 'shape' is unknown"),
    "an undeclared result": (lambda g: first(g, "Reshape").update(out="x"), "'x', which is not declared"),
    "an op in a list": (lambda g: g["ops"].insert(1, []), "operator 'None' is none of version 1"),
    "values in an object": (lambda g: g.update(values={}), "values: need a list"),
    "no space": (lambda g: g.update(space=None), "space: master None, need 1 to 8"),
    "a master of 9": (lambda g: g["space"].update(master=9), "space: master 9, need 1 to 8"),
    "shapes that disagree": (lambda g: g.update(input_shape=[2, 6, 5]), "output has shape"),
    "a cycle": (lambda g: first(g, "Conv").update(x="v1"), "reads 'v1' before"),
    "macs": (lambda g: g["space"]["layers"][0].update(macs=1), "the space states 1 macs"),
    "overflow": (lambda g: first(g, "Linear").update(hi=2**40), "clamp"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_of_version_1_that_lies(lie: str) -> None:
    change, message = LIES[lie]
    with pytest.raises(ProgramError, match=message) as caught:
        loads(version_1(plain(), change))
    assert len(str(caught.value)) < 400


NO_SPACE = {"input_shape": 1, "space": {}, "values": [], "ops": 1, "info": 0}


@pytest.mark.parametrize("text", ["[]", "{", "3", '{"ops": []}', json.dumps(NO_SPACE)])
def test_a_graph_that_is_none(text: str) -> None:
    with pytest.raises(ProgramError):
        loads(version_1(plain(), text))


def test_a_tensor_that_nobody_reads_is_refused() -> None:
    with pytest.raises(ProgramError, match=r"tensor 'v0\.gain' belongs to no instruction"):
        loads(version_1(plain(), None, lambda tensors: tensors.update({"v0.gain": np.ones(1, np.float32)})))
