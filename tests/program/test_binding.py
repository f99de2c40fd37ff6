"""Named dimensions: a program for other sizes is the program that would have been built for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import dqt
from dqt.arith.cost import cost
from dqt.arith.errors import InputError
from dqt.program.file import dumps
from dqt.program.interpret import execute, interpret
from dqt.program.ops.add import Add
from dqt.program.ops.slice import END
from dqt.program.program import Program, loads
from dqt.testing import Builder, inputs, random_model


def built(height: int, width: int) -> Program:
    """The same network at any size: padding and positions that follow it."""
    b = Builder(5, (3, height, width), dims=("", "height", "width"))
    b.dimension("height", 2, 12)
    b.dimension("width", 3, 9)
    x = b.conv("v0", 4, stride=(2, 1))
    x = b.slice(b.pad(x, (0, 0, 1), (0, 0, 0)), (0, 0, 1), (END, END, END), (1, 1, 1))
    x = b.reshape(b.transpose(x, (1, 2, 0)), (-1, 4))
    b.rng = np.random.default_rng(9)
    return b.build(b.linear(x, 3, integers=True))


@pytest.mark.parametrize(("height", "width"), [(2, 3), (5, 9), (12, 4)])
def test_a_binding_is_the_program_of_that_size(height: int, width: int) -> None:
    bound, own = built(6, 5).bind(height=height, width=width), built(height, width)
    assert dumps(bound) == dumps(own)
    assert bound.sizes == {"height": height, "width": width}
    assert cost(bound, 4) == cost(own, 4)
    assert bound.space.layers[0].macs != built(6, 5).space.layers[0].macs or (height, width) == (6, 5)


def test_a_binding_is_made_once_and_its_own_is_the_program() -> None:
    program = built(6, 5)
    assert program.bind() is program
    assert program.bind(height=6, width=5) is program
    assert program.bind(height=4) is program.bind(height=4, width=5)
    assert program.bind(height=4).bind(height=6).sizes == program.sizes


def test_calls_bind_by_the_shapes_of_inputs() -> None:
    program = built(6, 5)
    run = dqt.Runtime(program, threads=1)
    for sizes in ({"height": 3, "width": 7}, {"height": 12, "width": 3}, {"height": 3, "width": 7}):
        x = inputs(program, 3, sizes=sizes)
        assert x.shape == (3, 3, sizes["height"], sizes["width"])
        expected = interpret(program.bind(**sizes), x, 4)
        assert_array_equal(interpret(program, x, 4), expected)
        assert_array_equal(run(x, 4), expected)
        assert sum(run.profile(x, 4)) > 0


def test_the_file_keeps_names_and_ranges() -> None:
    program = random_model(3)
    again = loads(dumps(program))
    assert (again.inputs, again.states, again.dims) == (program.inputs, program.states, program.dims)
    x = inputs(again, 2, sizes={"height": 5})
    assert_array_equal(execute(again, x).codes["scores"], execute(program, x).codes["scores"])


SIZES: dict[str, tuple[dict[str, int], str]] = {
    "too large": ({"height": 13}, "dimension height is 13: this program takes 2 to 12"),
    "too small": ({"width": 2}, "dimension width is 2: this program takes 3 to 9"),
    "unknown": ({"depth": 3}, "no dimension 'depth': this program has height, width"),
    "no number": ({"height": 2.5}, "dimension height is 2.5"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("case", SIZES)
def test_sizes_that_do_not_fit(case: str) -> None:
    sizes, message = SIZES[case]
    with pytest.raises(InputError, match=message):
        built(6, 5).bind(**sizes)
    with pytest.raises(InputError, match="this program has no named dimensions"):
        Builder(0, (2, 3, 3)).build("v0").bind(**sizes)


def test_a_dimension_has_one_size_in_all_inputs_and_states() -> None:
    program = random_model(6)
    x = inputs(program, 2, sizes={"height": 4})
    other = inputs(program, 2, sizes={"height": 3})
    most = program.dims[0].most
    tall = {"image": np.repeat(x["image"], most, axis=2)[:, :, : most + 1]}
    tall["tokens"] = np.repeat(x["tokens"], most, axis=1)[:, : most + 1]
    runs: list[Callable[[Any], Any]] = [partial(interpret, program), dqt.Runtime(program, threads=1).session(2)]
    for run in runs:
        with pytest.raises(InputError, match="dimension height is 3 in input tokens, but 4 elsewhere in this call"):
            run(x | {"tokens": other["tokens"]})
        with pytest.raises(InputError, match=f"dimension height is {most + 1} in input image: .* takes 1 to {most}"):
            run(tall)
    state = execute(program, other).state
    with pytest.raises(InputError, match=r"state past of shape .*: this call takes"):
        interpret(program, x, None, state)


def test_what_cannot_take_other_sizes_names_the_instruction() -> None:
    b = Builder(1, (2, 4, 3), dims=("", "height", ""))
    b.dimension("height", 2, 9)
    program = b.build(b.avg_pool("v0"))
    x = inputs(program, 2)
    assert interpret(program, x).shape == (2, 2, 1, 1)
    taller = np.concatenate([x, x], axis=2)
    message = r"this program cannot take height=8: op 1 AvgPool .*windows are those of an input of \(2, 4, 3\)"
    with pytest.raises(InputError, match=message):
        interpret(program, taller)
    with pytest.raises(InputError, match=r"this program cannot take height=8: .*AvgPool"):
        dqt.Runtime(program, threads=1)(taller)


def test_a_literal_shape_or_a_constant_of_one_size_is_refused() -> None:
    b = Builder(1, (2, 4, 3), dims=("", "height", ""))
    b.dimension("height", 2, 9)
    fixed = b.build(b.reshape("v0", (8, 3)))
    with pytest.raises(InputError, match=r"height=3: op 1 Reshape .* different numbers of elements"):
        fixed.bind(height=3)
    b = Builder(1, (2, 4, 3), dims=("", "height", ""))
    b.dimension("height", 2, 9)
    added = b.build(b.binary(Add, "v0", b.constant((2, 4, 1))))
    with pytest.raises(InputError, match=r"height=3: op 2 Add .* do not broadcast"):
        added.bind(height=3)


def test_pixels_of_any_size_are_taken() -> None:
    b = Builder(1, (3, 4, 5), dims=("", "height", "width"))
    b.dimension("height", 2, 30)
    b.dimension("width", 2, 30)
    program = b.build(b.conv("v0", 2), mean=[0.5] * 3, std=[0.2] * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3)).astype(np.uint8)
    expected = (pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.2)
    assert_array_equal(interpret(program, pixels), interpret(program, expected))
