"""The example that ships gives the recorded integers, in the interpreter and from every kernel set."""

import json

import pytest

import dqt
from dqt.program.interpret import execute
from dqt.runtime.runtime import kernel_sets
from tests.golden.example import FILE, digests, images, plans

RECORDED = json.loads(FILE.read_text())


def test_the_interpreter() -> None:
    program = dqt.Program.load(dqt.example())
    assert digests(lambda x, plan: execute(program, x, plan), program) == RECORDED


@pytest.mark.parametrize("isa", kernel_sets())
def test_every_kernel_set(isa: str) -> None:
    program = dqt.Program.load(dqt.example())
    assert digests(dqt.Runtime(program, threads=1, isa=isa).execute, program) == RECORDED


def test_the_record_tells_plans_apart() -> None:
    program = dqt.Program.load(dqt.example())
    assert RECORDED.keys() == plans(program).keys()
    assert len(set(RECORDED.values())) == len(RECORDED)
    assert len(images()) > 1
