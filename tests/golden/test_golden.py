"""The arithmetic gives the stored integers, exactly; and the stored files are what make.py writes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.make import FILES, FUNCTIONS, call, text

HERE = Path(__file__).parent
CASES = [(file, case) for file in FILES for case in json.loads((HERE / file).read_text())]


@pytest.mark.parametrize("case", [c for _, c in CASES], ids=[f"{f}-{c['function']}" for f, c in CASES])
def test_the_stored_integers(case: dict[str, Any]) -> None:
    assert call(case["function"], case["in"]) == case["out"]


@pytest.mark.parametrize("file", FILES)
def test_the_files_are_up_to_date(file: str) -> None:
    assert (HERE / file).read_text() == text(FILES[file]())


def test_every_function_has_a_vector() -> None:
    assert {case["function"] for _, case in CASES} == set(FUNCTIONS)
