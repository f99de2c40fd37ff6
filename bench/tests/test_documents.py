"""Every number of the documents is printed from a record, and the records say where they were made."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import dqt
from bench import common
from bench.common import RESULTS, rows
from bench.documents import BLOCKS, ROOT, made
from bench.markdown import block, filled, table
from bench.pages import card, readme

PICTURE_BYTES = 100_000
RECORDS = sorted(RESULTS.rglob("*.json"))


@pytest.mark.parametrize("name", BLOCKS)
def test_a_document_shows_what_its_records_hold(name: str) -> None:
    assert (ROOT / name).read_text() == made(name), "run: python -m bench.documents"


@pytest.mark.parametrize("name", BLOCKS)
def test_every_table_of_measurements_is_printed(name: str) -> None:
    """Outside of the blocks no table has a number with decimals."""
    page = (ROOT / name).read_text()
    for mark in BLOCKS[name]():
        page = filled(page, mark, "")
    page = re.sub(r"`.*?`", "", page)  # settings and code
    typed = [line for line in page.splitlines() if line.startswith("|") and re.search(r"\d\.\d", line)]
    assert typed == []


def test_a_number_that_is_changed_by_hand_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = (ROOT / "README.md").read_text()
    found = block("engine").search(before)
    assert found is not None
    changed = before.replace(found[0], re.sub(r"\d", "9", found[0]))
    monkeypatch.setattr(Path, "read_text", lambda path, **_: changed if path.name == "README.md" else _read(path))
    assert made("README.md") == before


def _read(path: Path) -> str:
    return path.read_bytes().decode()


def test_the_card_is_that_of_the_example_that_ships() -> None:
    assert dqt.example().stat().st_size == card.shipped()[1].program_bytes


def test_the_picture_is_small() -> None:
    assert readme.PICTURE.stat().st_size < PICTURE_BYTES


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_record_says_where_it_was_made_and_whether_its_targets_are_met(path: Path) -> None:
    document = json.loads(path.read_text())
    if document.get("bench") is None:  # a run's results, read by the report
        return
    assert path.stem.partition("-")[0] == document["bench"]
    assert document["machine"]["processor"]
    for target in document["targets"]:
        value, limit = target["value"], target["target"]
        assert target["met"] == (value <= limit if target["relation"] == "<=" else value >= limit), target["what"]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_has_one_row_a_line(path: Path) -> None:
    text = path.read_text()
    assert text == rows(json.loads(text)) + "\n"


def test_rows_are_json_with_one_row_a_line() -> None:
    value = {"machine": {"name": "m" * 400}, "rows": [{"b": b, "over": [b] * 100} for b in (8, 4)], "none": [], "x": {}}
    text = rows(value)
    assert json.loads(text) == value
    assert len(text.splitlines()) == 2 + 1 + (2 + 2) + 1 + 1
    assert rows([1, 2]) == "[1, 2]"


def test_blocks_are_filled_and_tables_aligned() -> None:
    assert filled("a <!-- x -->\nold\n<!-- end --> b", "x", "new\\1\n") == "a <!-- x -->\nnew\\1\n<!-- end --> b"
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n|---|---:|\n| 1 | 2 |\n"


def test_a_record_of_one_processor_never_replaces_that_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path / "bench" / "results")
    common.RESULTS.mkdir(parents=True)
    for processor, value in (
        ("AMD EPYC (family 26, model 2), avx2, avx512f", 1),
        ("AMD EPYC (family 25, model 17), avx2", 2),
        ("AMD EPYC (family 26, model 2), avx2", 3),  # the first processor again
    ):
        monkeypatch.setattr(common, "machine", lambda processor=processor: {"processor": processor})
        common.write("engine", settings={}, results={"value": value}, checks=[])
    found = {path.name: json.loads(path.read_text())["results"]["value"] for path in common.records_of("engine")}
    assert found == {"engine.json": 3, "engine-amd-epyc-family-25-model-17.json": 2}
