"""Every kernel set of csrc/kernels.inc equals plain formulas: those of this processor, and aarch64's under QEMU."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
COMMON = ("-std=c++20", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
SANITIZED = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CROSS, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
# QEMU's processors: one with every extension, one with SDOT alone, one with neither.
PROCESSORS = {
    "max": ["neon-i8mm: equal", "neon: equal", "portable: equal"],
    "cortex-a76": ["neon-i8mm: cannot run here", "neon: equal", "portable: equal"],
    "cortex-a72": ["neon-i8mm: cannot run here", "neon: cannot run here", "portable: equal"],
}


def flags() -> dict[str, list[str]]:
    """The options that CMakeLists.txt gives each file of csrc/simd."""
    calls = re.findall(r"set_source_files_properties\(([^)]*)\)", (ROOT / "CMakeLists.txt").read_text())
    result = {}
    for call in calls:
        files, options = call.split("PROPERTIES")
        (listed,) = re.findall(r'COMPILE_OPTIONS\s+"([^"]*)"', options)
        result.update({file: listed.split(";") for file in files.split()})
    return result


def build(compiler: str, folder: Path, *options: str) -> Path:
    """The test program, with the kernel sets of the architecture that the compiler makes code for."""
    each, objects = flags(), []
    arm = target(compiler) == "aarch64"
    for source in [CSRC / "kernels.cc", *sorted((CSRC / "simd").glob("*.cc")), CSRC / "tests" / "kernels_test.cc"]:
        own = each.get(str(source.relative_to(ROOT)), [])
        if any(option.startswith("-march=arm") for option in own) != arm:
            own = []  # a file of the other architecture, which is empty here
        objects.append(str(folder / f"{source.stem}.o"))
        call(compiler, *COMMON, *options, *own, "-c", str(source), "-o", objects[-1])
    program = folder / "kernels_test"
    call(compiler, *options, *objects, "-o", str(program))
    return program


def target(compiler: str) -> str:
    """The architecture that a compiler makes code for, as CMake names it."""
    name = call(compiler, "-dumpmachine").split("-")[0]
    return "aarch64" if name == "arm64" else name


def call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="no kernels but the portable ones")
@pytest.mark.timeout(600)
def test_this_processors_kernels(tmp_path: Path) -> None:
    lines = call(str(build("g++", tmp_path, *SANITIZED)), "10").splitlines()
    assert lines[-1] == "portable: equal"
    assert all(re.fullmatch(r"[\w-]+: (equal|cannot run here)", line) for line in lines)


@pytest.mark.skipif(
    shutil.which(CROSS) is None or shutil.which(EMULATOR) is None,
    reason=f"aarch64's kernels were NOT tested: needs {CROSS} (g++-aarch64-linux-gnu) and {EMULATOR} (qemu-user)",
)
@pytest.mark.timeout(600)
def test_the_kernels_of_aarch64(tmp_path: Path) -> None:
    program = build(CROSS, tmp_path, "-O2", "-static")
    for processor, lines in PROCESSORS.items():
        assert call(EMULATOR, "-cpu", processor, str(program), "4").splitlines() == lines


def test_every_set_is_listed_and_built_with_its_own_options() -> None:
    listed = set(re.findall(r"^DQT_KERNELS\((\w+)\)", (CSRC / "kernels.inc").read_text(), re.MULTILINE))
    assert listed == {path.stem for path in (CSRC / "simd").glob("*.cc") if "_" not in path.stem} | {"neon_i8mm"}
    assert {f"csrc/simd/{name}.cc" for name in listed - {"portable"}} <= set(flags())
