"""What a wheel holds for C programs: one library with a versioned name, which the page's command links."""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dqt.program.interpret import interpret
from dqt.program.program import Program
from dqt.shipped import example
from tests.native.build import ROOT, call, needs

pytestmark = [
    needs("gcc", "readelf"),
    pytest.mark.skipif(platform.system() != "Linux", reason="names of libraries are those of Linux"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's folder of a wheel that is made in the build folder of this environment: little is compiled."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
    )
    call(*pip, "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("dqt-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "dqt"


def test_the_library_is_there_once_with_a_versioned_name(package: Path) -> None:
    library = package / "lib" / "libdqt.so.0"
    assert sorted(path.name for path in (package / "lib").iterdir()) == ["libdqt.so", "libdqt.so.0"]
    assert (package / "lib" / "libdqt.so").read_text() == "INPUT(libdqt.so.0)\n"
    assert "Library soname: [libdqt.so.0]" in call("readelf", "-d", library)
    assert (package / "include" / "dqt.h").read_bytes() == (ROOT / "csrc" / "dqt.h").read_bytes()


def test_the_pages_command_links_a_program_that_runs_without_a_compiler(package: Path, tmp_path: Path) -> None:
    source, made, lib = ROOT / "csrc" / "examples" / "run.c", tmp_path / "run", package / "lib"
    include = f"-I{package / 'include'}"
    call("gcc", "-std=c99", source, include, f"-L{lib}", f"-Wl,-rpath,{lib}", "-ldqt", "-o", made)
    program = Program.load(example())
    best = interpret(program, np.zeros((1, *program.input_shape), np.float32), 8).argmax()
    done = subprocess.run([made, example()], capture_output=True, text=True, env={"PATH": ""}, check=True)
    assert done.stdout.startswith(f"sample 0: class {best}, widths ")
