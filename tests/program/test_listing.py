"""The table of a program: one row per instruction, numbers that add up."""

from __future__ import annotations

import json

from dqt.program.listing import listing, rows
from dqt.program.planned import accumulator_bits
from dqt.testing import Builder, random_program


def test_rows_follow_the_instructions() -> None:
    program = random_program(1, auto=True)
    table = rows(program)
    assert [row.op for row in table] == [type(op).__name__ for op in program.ops]
    layers = {layer.name: layer for layer in (*program.space.layers, *program.space.controller)}
    for row in table:
        if row.macs is not None:
            assert (row.macs, row.weights) == (layers[row.name].macs, layers[row.name].weights)
            assert row.accumulator_bits == accumulator_bits(program)[row.name]
    assert json.loads(json.dumps([row.as_dict() for row in table]))[0]["op"] == "Quantize"


def test_the_text_is_exact() -> None:
    b = Builder(1, (2, 4, 4), widths=(2, 3, 8))
    text = listing(b.build(b.linear(b.flatten(b.conv("v0", 3)), 5, integers=True)))
    assert text.splitlines() == [
        "input 2x4x4, master 8 bits, widths 2,3,8, 2 layers",
        "",
        "op          name     output  widths   MACs  weights  acc bits",
        "-------------------------------------------------------------",
        "Quantize    v0       2x4x4",
        "Conv        block.0  3x4x4   2,3,8*    864       54        19",
        "Reshape     v2       48",
        "Linear      block.1  5       2,3,8*    240      240        20",
        "Dequantize  output   5",
        "-------------------------------------------------------------",
        "total                                1,104      294        20",
        "",
        "* first and last layers: 8 bits under a uniform plan",
    ]


def test_a_program_prints_its_table() -> None:
    program = random_program(3, auto=True)
    assert str(program) == listing(program)
    assert "controller chooses from" in str(program)
    assert all(line == line.rstrip() for line in str(program).splitlines())
