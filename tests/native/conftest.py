"""The loader's test program, under sanitizers."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SANITIZED = ("-std=c++20", "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WARNINGS = ("-Wall", "-Wextra", "-Werror")
Run = Callable[..., list[str]]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The loader's test program under sanitizers: arguments -> lines of output. Workers share it."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    program, part = folder / "load_test", folder / "load_test.part"
    sources = [*sorted((ROOT / "csrc" / "ir").glob("**/*.cc")), ROOT / "csrc" / "tests" / "load_test.cc"]
    with (folder / "load_test.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            command = ["g++", *SANITIZED, *WARNINGS, *(str(source) for source in sources), "-o", str(part)]
            built = subprocess.run(command, capture_output=True, text=True, check=False)
            assert built.returncode == 0, built.stderr
            part.rename(program)

    def call(*arguments: Any) -> list[str]:
        environment = {**os.environ, "ASAN_OPTIONS": "max_allocation_size_mb=256"}  # more is more than any test's file
        command = [str(program), *(str(a) for a in arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.splitlines()

    return call
