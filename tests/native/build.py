"""Builds the engine and its test programs, once for a session: under a sanitizer, or for aarch64, which QEMU runs.

Workers share a build. Where a tool is missing, a test that needs it is skipped, but in continuous integration
(``CI=true``), which has them all: there it fails.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import site
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CROSS = "aarch64-linux-gnu"
NATIVE = ("gcc", "g++")
ARM = (f"{CROSS}-gcc", f"{CROSS}-g++", "qemu-aarch64")
"""What the tests of aarch64's kernels need: Debian's g++-aarch64-linux-gnu and qemu-user."""
CORTEX = ("arm-none-eabi-gcc", "qemu-system-arm")
"""What the tests of exported C need: Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm."""
CONTINUOUS = os.environ.get("CI") == "true"
EMULATOR = ("qemu-aarch64", "-L", f"/usr/{CROSS}")
ADDRESS = (
    "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all"
    # What the address sanitizer finds by itself; and the checks of large functions as calls: so kernels compile in less
    # than half the time, and small functions, which tests call most, run in less than half of theirs.
    " -fno-sanitize=null,object-size --param asan-instrumentation-with-call-threshold=50"
)
BUILDS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "address": (ADDRESS, {}),
    # Threads share what they share whatever multiplies: of x86's kernels, a set with every kind but tiles is enough.
    "thread": ("-O1 -g1 -fsanitize=thread", {"DQT_BEYOND_AVX2": "OFF"}),
    # Also the build that shows that each file includes what it needs.
    "aarch64": ("-O1", {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": "aarch64", "DQT_PRECOMPILE": "OFF"}),
}
"""Flags, and options of CMake."""


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skips tests where one of ``tools`` is missing; in continuous integration they run, and fail there."""
    missing = missing_of(tools)
    packages = " (apt-get install g++-aarch64-linux-gnu qemu-user)" if set(missing) & set(ARM) else ""
    if set(missing) & set(CORTEX):
        packages = " (apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm)"
    return pytest.mark.skipif(
        bool(missing) and not CONTINUOUS, reason=f"NOT tested: {', '.join(missing)} missing{packages}"
    )


def missing_of(tools: Sequence[str]) -> list[str]:
    return [name for name in tools if shutil.which(name) is None]


def tool(name: str) -> str:
    """CMake or Ninja: of this environment, or else of the system."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"needs {name}: pip install {name}"
    return found


def built(factory: pytest.TempPathFactory, build: str, *targets: str) -> Path:
    """The folder with ``targets`` (of CMakeLists.txt, DQT_TESTS) of one of ``BUILDS``."""
    missing = missing_of(ARM if build == "aarch64" else NATIVE)
    assert not missing, f"{', '.join(missing)} missing: .ci/run installs what the tests need"
    folder = factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / f"native-{build}"
    flags, others = BUILDS[build]
    prefix = f"{CROSS}-" if build == "aarch64" else ""
    options = {
        "DQT_PYTHON": "OFF",
        "DQT_TESTS": "ON",
        "CMAKE_MAKE_PROGRAM": tool("ninja"),
        "CMAKE_C_COMPILER": f"{prefix}gcc",
        "CMAKE_CXX_COMPILER": f"{prefix}g++",
        "CMAKE_BUILD_TYPE": "Debug",
        "CMAKE_COMPILE_WARNING_AS_ERROR": "ON",
        **{f"CMAKE_{language}_FLAGS_DEBUG": flags for language in ("C", "CXX")},
        **others,
    }
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "CMakeCache.txt").exists():
            call(tool("cmake"), "-G", "Ninja", "-S", ROOT, "-B", folder, *(f"-D{k}={v}" for k, v in options.items()))
        call(tool("ninja"), "-C", folder, "-j", 2, *targets)
    return folder


def emulated(program: Path, processor: str = "max") -> tuple[str, ...]:
    """The words that run a program of the "aarch64" build on one of QEMU's processors."""
    return (EMULATOR[0], "-cpu", processor, *EMULATOR[1:], str(program))


def python_on(cpu: str, code: str, *arguments: Any) -> None:
    """Run Python code on one of QEMU's x86 processors, with what this environment has installed."""
    begin = "import site, sys; site.addsitedir(sys.argv.pop(1))\n"
    sites = next(each for each in site.getsitepackages() if (Path(each) / "numpy").exists())
    call("qemu-x86_64", "-cpu", cpu, Path(sys.executable).resolve(), "-c", begin + code, sites, *arguments)


def call(*command: Any, environment: Mapping[str, str] | None = None) -> str:
    """Run to the end without failure; the standard output."""
    words = [str(word) for word in command]
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, f"{words[0]}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout
