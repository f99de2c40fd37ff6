"""The operators and their fields stand in C++ as in Python: the list is written, and every file of it is there."""

from __future__ import annotations

import re

from dqt.program.operator import operators
from tests.native.make_ops import LIST, listing


def test_the_list_is_what_python_defines() -> None:
    assert LIST.read_text() == listing(), "run `python -m tests.native.make_ops`, and give C++ what is new"


def test_each_operator_has_one_file_of_its_own() -> None:
    names = {re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in operators()}
    assert {path.stem for path in (LIST.parent / "ops").glob("*.cc")} == names


def test_rooms_do_not_look_up() -> None:
    """A program does not know who compiles it, and neither knows the target."""
    csrc = LIST.parents[1]
    for room, forbidden in {"ir": "compile|cpu", "compile": "cpu"}.items():
        for path in (*csrc.glob(f"{room}/**/*.cc"), *csrc.glob(f"{room}/**/*.h")):
            assert not re.search(rf'#include ".*({forbidden})/', path.read_text()), path
