"""The house's measures: short files, short functions, nothing left undone."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 450, 60


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_files_and_functions_are_short_and_finished(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 <= FUNCTION_LINES, node.name
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text)


def test_every_package_says_what_it_is() -> None:
    for path in SOURCES:
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize(
    ("folder", "other"), [("tests", "bench"), ("bench", "tests"), ("src", "tests"), ("src", "bench")]
)
def test_tests_and_measurements_share_the_library_and_nothing_else(folder: str, other: str) -> None:
    imports = re.compile(rf"^\s*(from|import) {other}\b", re.MULTILINE)
    assert [path for path in (ROOT / folder).rglob("*.py") if imports.search(path.read_text())] == []
