"""The JSON documents of plans and cascades, and the whole numbers in them: what is read, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dqt.arith.documents import CASCADE, PLAN, document, parsed, read_document, written
from dqt.arith.errors import PlanError
from dqt.arith.whole import index, whole


@pytest.mark.parametrize("kind", [PLAN, CASCADE])
def test_a_document_says_its_format_and_is_read_as_it_was_written(kind: str) -> None:
    text = written(kind, layers={"a": [2, 4]})
    assert text.endswith("}\n")
    assert document(text, kind) == {"format": kind, "version": 1, "layers": {"a": [2, 4]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (written(CASCADE), r"a cascade, not a plan: load it with dqt\.Cascade\.load"),
        ("[]", 'expected a JSON object with "format": "dqt-plan"'),
        ('{"format": "dqt-plan"}', "plan version None; this release reads version 1"),
        ('{"format": "dqt-plan", "version": true}', "plan version True"),  # in Python, True == 1
        ('{"format": "dqt-plan", "format": "dqt-plan"}', "'format' stands twice"),
        ("[" * 100_000, "a plan must be JSON"),  # deeper than the parser goes
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        document(text, PLAN)


def test_errors_of_a_file_name_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{")
    with pytest.raises(PlanError, match=r"plan\.json: a plan must be JSON"):
        read_document(path, lambda text: parsed(text, "a plan"))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError, match=r"plan\.json: not a text file"):
        read_document(path, str)
    path.write_text("text")
    assert read_document(path, str) == "text"


@pytest.mark.parametrize("value", [3, np.int8(3), np.array(3), torch.tensor(3)])
def test_whole_numbers_of_every_library_are_one_int(value: Any) -> None:
    assert type(index(value)) is int
    assert index(value) == whole(value, "a width") == 3


@pytest.mark.parametrize("value", [True, 3.0, "3", None, [3]])
def test_what_is_no_whole_number_is_named(value: Any) -> None:
    assert index(value) is None
    with pytest.raises(PlanError, match="a width must be an integer, not"):
        whole(value, "a width")
