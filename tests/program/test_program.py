"""A program owns what it holds: nothing that its maker keeps, or a reader gets, can change it after its proof."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from dqt.program.file import dumps
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.table import Table
from dqt.program.program import Program
from dqt.testing import Builder, inputs, random_program

INFO: dict[str, Any] = {
    "classes": ["a", "b"],
    "mean": [0.5],
    "more": {"list": [{"x": [1]}], "none": None},
    "pair": (1, 2),
}


def arrays(program: Program) -> list[np.ndarray[Any, Any]]:
    items = [getattr(op, item.name) for op in program.ops for item in fields(op)]
    return [item for item in items if isinstance(item, np.ndarray)]


def every_kind() -> tuple[Builder, str]:
    """A program in the making that has an array of every kind."""
    b = Builder(4, (2, 5, 5))
    x = b.table(b.rescale(b.avg_pool(b.conv("v0", 3), (2, 2))))
    return b, b.linear(b.flatten(x), 3, integers=True)


def test_the_makers_arrays_stay_writable_and_apart() -> None:
    b, out = every_kind()
    program = b.build(out)
    x = inputs(program, 3)
    expected = program(x)
    for op in b.ops:
        for item in fields(op):
            value = getattr(op, item.name)
            if isinstance(value, np.ndarray):
                assert value.flags.writeable
                value[...] = 0
    np.testing.assert_array_equal(program(x), expected)
    assert {type(op) for op in b.ops} >= {Conv, Linear, Rescale, AvgPool, Table}


def test_no_view_of_a_writable_array_is_kept() -> None:
    """Read-only is not enough: whoever owns the memory behind a view can write there."""
    b, out = every_kind()
    op = b.ops[-1]
    assert isinstance(op, Linear)
    memory = op.weight.copy()
    view = memory.view()
    view.setflags(write=False)
    b.ops[-1] = replace(op, weight=view)
    program = b.build(out)
    memory[:] = 1
    assert not np.array_equal(program.ops[-2].weight, memory)  # type: ignore[attr-defined]


@pytest.mark.parametrize("through", [lambda p: p, copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_its_arrays_can_never_be_written(through: Callable[[Program], Program]) -> None:
    b, out = every_kind()
    first = b.build(out, **INFO)
    program = through(first)
    assert dumps(program) == dumps(first)
    for array in arrays(program):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises(ValueError, match="cannot set WRITEABLE"):
            array.setflags(write=True)
    with pytest.raises(TypeError, match="cannot be changed"):
        program.info["mean"][0] = 1.0


def test_pickling_a_controller() -> None:
    program = random_program(1, auto=True)
    again = pickle.loads(pickle.dumps(program))
    np.testing.assert_array_equal(again(inputs(program, 4), "auto"), program(inputs(program, 4), "auto"))


EDITS: dict[str, Callable[[Any], object]] = {
    "set": lambda i: i.__setitem__("classes", []),
    "delete": lambda i: i.__delitem__("classes"),
    "update": lambda i: i.update(a=1),
    "merge": lambda i: i.__ior__({"a": 1}),
    "pop": lambda i: i.pop("mean"),
    "clear": lambda i: i.clear(),
    "default": lambda i: i.setdefault("b", 1),
    "append": lambda i: i["classes"].append("c"),
    "extend": lambda i: i["classes"].__iadd__(["c"]),
    "sort": lambda i: i["classes"].sort(reverse=True),
    "item": lambda i: i["classes"].__setitem__(0, "c"),
    "deep mapping": lambda i: i["more"].pop("none"),
    "deep list": lambda i: i["more"]["list"][0]["x"].append(2),
}


@pytest.mark.parametrize("name", EDITS)
def test_info_cannot_be_edited(name: str) -> None:
    program = replace(random_program(0), info=INFO)
    with pytest.raises(TypeError, match="cannot be changed"):
        EDITS[name](program.info)
    assert program.info == INFO


def test_info_is_its_own_and_ordinary_to_read() -> None:
    given = copy.deepcopy(INFO)
    program = replace(random_program(0), info=given)
    given["classes"].append("c")
    given["more"]["list"][0]["x"].append(2)
    assert program.info == INFO
    assert program.info["classes"] == ["a", "b"]
    assert program.info["pair"] == (1, 2)
    assert json.loads(json.dumps(program.info)) == json.loads(json.dumps(INFO))
    assert {**program.info, "a": 1} == {**INFO, "a": 1}


@pytest.mark.parametrize("through", [copy.deepcopy, lambda info: pickle.loads(pickle.dumps(info))])
def test_a_copy_of_info_is_ordinary(through: Callable[[Any], Any]) -> None:
    made = through(replace(random_program(0), info=INFO).info)
    assert made == INFO
    assert type(made) is dict
    made["classes"].append("c")
    made["more"]["list"][0]["x"].append(2)
