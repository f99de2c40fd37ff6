"""The loader's test program, under sanitizers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.native.build import built, call

Run = Callable[..., list[str]]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The loader's test program under sanitizers: arguments -> lines of output."""
    program = built(tmp_path_factory, "address", "load_test") / "load_test"
    environment = {"ASAN_OPTIONS": "max_allocation_size_mb=256"}  # more is more than any test's file
    return lambda *arguments: call(program, *arguments, environment=environment).splitlines()
