"""The house's measures: short files, short functions, nothing left undone, no import in a circle."""

import ast
import graphlib
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 350, 60
MEDIAN_LINES, NINE_IN_TEN_LINES = 8, 20
MODULES = {".".join(p.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__"): p for p in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_files_and_functions_are_short_and_finished(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 <= FUNCTION_LINES, node.name
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text)


def test_most_functions_are_a_few_lines() -> None:
    lengths = [
        node.end_lineno - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    ]
    assert statistics.median(lengths) <= MEDIAN_LINES
    assert statistics.quantiles(lengths, n=10)[-1] <= NINE_IN_TEN_LINES


def test_modules_import_each_other_in_no_circle() -> None:
    graphlib.TopologicalSorter({name: set(imported(path)) for name, path in MODULES.items()}).prepare()


def imported(path: Path) -> Iterator[str]:
    """The library's modules that a file imports when it is loaded itself: not in functions, not for types alone."""
    for node in ast.parse(path.read_text()).body:
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{each.name}" for each in node.names]
            names = [name if name in MODULES else str(node.module) for name in whole]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        yield from (name for name in names if name in MODULES)


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


def test_imports_within_functions_keep_an_optional_package_out() -> None:
    late = {
        (path.relative_to(ROOT / "src/dqt").as_posix(), str(node.module))
        for path in MODULES.values()
        if "cli" not in path.parts  # a verb loads what it needs: --help and a misspelt name answer at once
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dqt")
    }
    assert late == {("lower/__init__.py", "dqt.lower.emit")}  # needs torch
