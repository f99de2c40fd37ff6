"""Builds the engine and its test programs under a sanitizer, once for a session: workers share a build."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MISSING = [name for name in ("gcc", "g++") if shutil.which(name) is None]
SANITIZERS = {
    "address": "-fsanitize=address,undefined -fno-sanitize-recover=all",
    "thread": "-fsanitize=thread",
}


def tool(name: str) -> str:
    """CMake or Ninja: of this environment, or else of the system."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"needs {name}: pip install {name}"
    return found


def built(factory: pytest.TempPathFactory, sanitizer: str, *targets: str) -> Path:
    """The folder with ``targets`` (of CMakeLists.txt, DQT_TESTS) built under ``sanitizer``."""
    folder = factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / f"native-{sanitizer}"
    flags = SANITIZERS[sanitizer]
    options = {
        "DQT_PYTHON": "OFF",
        "DQT_TESTS": "ON",
        "CMAKE_MAKE_PROGRAM": tool("ninja"),
        "CMAKE_C_COMPILER": "gcc",
        "CMAKE_CXX_COMPILER": "g++",
        "CMAKE_BUILD_TYPE": "Debug",
        **{f"CMAKE_{language}_FLAGS_DEBUG": f"-O1 -g1 {flags}" for language in ("C", "CXX")},
    }
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "CMakeCache.txt").exists():
            call(tool("cmake"), "-G", "Ninja", "-S", ROOT, "-B", folder, *(f"-D{k}={v}" for k, v in options.items()))
        call(tool("ninja"), "-C", folder, "-j", 2, *targets)
    return folder


def call(*command: Any, environment: Mapping[str, str] | None = None) -> str:
    """Run to the end without failure; the standard output."""
    words = [str(word) for word in command]
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, f"{words[0]}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout
