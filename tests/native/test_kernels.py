"""Every kernel set of csrc/cpu/kernels.inc equals plain formulas: those of this processor, and aarch64's under QEMU."""

from __future__ import annotations

import platform
import re

import pytest

from tests.native.build import ARM, NATIVE, ROOT, built, call, emulated, needs

CSRC = ROOT / "csrc" / "cpu"
# QEMU's processors: one with every extension, one with SDOT alone, one with neither.
PROCESSORS = {
    "max": ["neon-i8mm: equal", "neon: equal", "portable: equal"],
    "cortex-a76": ["neon-i8mm: cannot run here", "neon: equal", "portable: equal"],
    "cortex-a72": ["neon-i8mm: cannot run here", "neon: cannot run here", "portable: equal"],
}


@needs(*NATIVE)
@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="no kernels but the portable ones")
@pytest.mark.timeout(1500)
def test_this_processors_kernels(tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = call(built(tmp_path_factory, "address", "kernels_test") / "kernels_test", 10).splitlines()
    assert lines[-1] == "portable: equal"
    assert all(re.fullmatch(r"[\w-]+: (equal|cannot run here)", line) for line in lines)


@needs(*ARM)
@pytest.mark.timeout(1500)
def test_the_kernels_of_aarch64(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = built(tmp_path_factory, "aarch64", "kernels_test") / "kernels_test"
    for processor, lines in PROCESSORS.items():
        assert call(*emulated(program, processor), 4).splitlines() == lines


def flags() -> dict[str, list[str]]:
    """The options that CMakeLists.txt gives each file of csrc/cpu/simd."""
    properties = re.findall(r"set_source_files_properties\(([^)]*)\)", (ROOT / "CMakeLists.txt").read_text())
    result = {}
    for each in properties:
        files, options = each.split("PROPERTIES")
        (listed,) = re.findall(r'COMPILE_OPTIONS\s+"([^"]*)"', options)
        result.update({file: listed.split(";") for file in files.split()})
    return result


def test_every_set_is_listed_and_built_with_its_own_options() -> None:
    listed = set(re.findall(r"^DQT_KERNELS\((\w+)\)", (CSRC / "kernels.inc").read_text(), re.MULTILINE))
    assert listed == {path.stem for path in (CSRC / "simd").glob("*.cc") if "_" not in path.stem} | {"neon_i8mm"}
    assert {f"csrc/cpu/simd/{name}.cc" for name in listed - {"portable"}} <= set(flags())
