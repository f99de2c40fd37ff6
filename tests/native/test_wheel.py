"""What a wheel holds: the engine once, for Python and for C, under a tag that other systems take.

It is installed into an environment that has nothing but what the wheel asks for, and no compiler in its path.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dqt.program.interpret import interpret
from dqt.program.program import Program
from dqt.runtime.runtime import kernel_sets
from dqt.shipped import example
from dqt.testing.installed import asked_for
from tests.native.build import ROOT, call, needs

pytestmark = [
    needs("gcc", "readelf", "nm"),
    pytest.mark.skipif(platform.system() != "Linux", reason="names of libraries are those of Linux"),
    pytest.mark.timeout(900),
]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
SYSTEM = {
    "libstdc++.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libc.so.6",
    "libpthread.so.0",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
}
"""Libraries that every manylinux system has."""
ALONE = """
import importlib.util, shutil, sys
import numpy as np
import dqt
from dqt.runtime.runtime import kernel_sets
assert dqt.__file__.startswith(sys.prefix), dqt.__file__
assert not [name for name in ("cc", "gcc", "c++", "g++", "clang", "cmake", "ninja") if shutil.which(name)]
assert not [name for name in ("torch", "matplotlib", "onnx", "sklearn") if importlib.util.find_spec(name)]
program = dqt.Program.load(dqt.example())
x = np.random.default_rng(0).normal(size=(5, *program.input_shape)).astype(np.float32)
for plan in (*program.space.widths, "auto"):
    expected = dqt.interpret(program, x, plan)
    for isa in kernel_sets():
        assert np.array_equal(dqt.Runtime(program, isa=isa, threads=1)(x, plan), expected), (isa, plan)
print(*kernel_sets())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made in the build folder of this environment: little is compiled."""
    folder = tmp_path_factory.mktemp("wheel")
    call(*PIP, "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (made,) = folder.glob("dqt-*.whl")
    return made


@pytest.fixture(scope="module")
def package(wheel: Path) -> Path:
    """The package's folder of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent)
    return wheel.parent / "dqt"


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    """A new virtual environment with the wheel and, as links, what its metadata asks for: no other package."""
    folder = wheel.parent / "env"
    venv.create(folder)
    call(*PIP, "--python", folder / "bin" / "python", "install", "-q", "--no-index", "--no-deps", wheel)
    (site,) = (folder / "lib").glob("python*/site-packages")
    for found in asked_for(wheel):
        names = {path.parts[0] for path in found.files or () if path.parts[0] not in {"..", "__pycache__"}}
        for name in names:
            (site / name).symlink_to(Path(str(found.locate_file(name))).resolve())
    return folder


def linked(file: Path) -> tuple[set[str], str]:
    """The libraries that a file needs, and where it looks for them."""
    text = call("readelf", "-d", file)
    (path,) = re.findall(r"Library runpath: \[(.*)\]", text) or [""]
    return set(re.findall(r"Shared library: \[(.*)\]", text)), path


def test_the_library_is_there_once_with_a_versioned_name(package: Path) -> None:
    library = package / "lib" / "libdqt.so.0"
    assert sorted(path.name for path in (package / "lib").iterdir()) == ["libdqt.so", "libdqt.so.0"]
    assert (package / "lib" / "libdqt.so").read_text() == "INPUT(libdqt.so.0)\n"
    assert "Library soname: [libdqt.so.0]" in call("readelf", "-d", library)
    assert (package / "include" / "dqt.h").read_bytes() == (ROOT / "csrc" / "dqt.h").read_bytes()
    arith = package / "export" / "c99" / "arith.h"  # a link in the sources
    assert arith.read_bytes() == (ROOT / "csrc" / "arith.h").read_bytes()
    assert not arith.is_symlink()


def test_the_module_takes_the_engine_from_the_library(package: Path) -> None:
    (module,) = package.glob("_native*.so")
    library = package / "lib" / "libdqt.so.0"
    needed, path = linked(module)
    assert path == "$ORIGIN/lib"
    assert "libdqt.so.0" in needed
    assert needed - SYSTEM == {"libdqt.so.0"}
    assert linked(library)[0] <= SYSTEM
    assert module.stat().st_size < library.stat().st_size / 4


def test_the_library_shows_the_c_interface_and_what_the_module_asks_for(package: Path) -> None:
    (module,) = package.glob("_native*.so")
    shown = set(re.findall(r" [A-Z] (\S+)$", call("nm", "-D", "--defined-only", package / "lib" / "libdqt.so.0"), re.M))
    header = (ROOT / "csrc" / "dqt.h").read_text()
    public = set(re.findall(r"^DQT_API .*?(dqt_\w+)\(", header, re.MULTILINE))
    assert {name for name in shown if name.startswith("dqt_")} == public
    asked = set(re.findall(r" U (\S*dqt\S*)$", call("nm", "-D", "--undefined-only", module), re.MULTILINE))
    assert asked
    assert asked <= shown
    assert all("3dqt" in name for name in shown - public), shown  # of the namespace dqt: nothing of other libraries
    for isa in kernel_sets():
        name = f"kernels_{isa.replace('-', '_')}"
        assert f"_ZN3dqt{len(name)}{name}E" in shown


def test_other_systems_take_it(wheel: Path) -> None:
    """No library has to be repaired into it: only the version of the C library limits where it runs."""
    said = call(sys.executable, "-m", "auditwheel", "show", wheel)
    assert re.search(r'"manylinux_\d+_\d+_' + platform.machine(), said), said


def test_it_runs_where_nothing_else_is(environment: Path, tmp_path: Path) -> None:
    python, free = environment / "bin" / "python", {"PATH": str(environment / "bin")}
    done = subprocess.run(
        [str(python), "-I", "-c", ALONE], env=free, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert tuple(done.stdout.split()) == kernel_sets()
    verb = [str(environment / "bin" / "dqt"), "inspect", str(example())]
    assert "conv1" in subprocess.run(verb, env=free, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


def test_the_pages_command_links_a_program_that_runs_without_a_compiler(package: Path, tmp_path: Path) -> None:
    source, made, lib = ROOT / "csrc" / "examples" / "run.c", tmp_path / "run", package / "lib"
    include = f"-I{package / 'include'}"
    call("gcc", "-std=c99", source, include, f"-L{lib}", f"-Wl,-rpath,{lib}", "-ldqt", "-o", made)
    program = Program.load(example())
    best = interpret(program, np.zeros((1, *program.input_shape), np.float32), 8).argmax()
    done = subprocess.run([made, example()], capture_output=True, text=True, env={"PATH": ""}, check=True)
    assert done.stdout.startswith(f"sample 0: class {best}, widths ")


def test_the_first_program_of_the_page_runs(package: Path, tmp_path: Path) -> None:
    (code, *_) = re.findall(r"```c\n(#include.*?)```", (ROOT / "docs" / "c-api.md").read_text(), re.DOTALL)
    (tmp_path / "page.c").write_text(code)
    (tmp_path / "digits.dqt").write_bytes(example().read_bytes())
    lib = package / "lib"
    words = ["-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{package / 'include'}", f"-L{lib}", f"-Wl,-rpath,{lib}"]
    call("gcc", *words, tmp_path / "page.c", "-ldqt", "-o", tmp_path / "page")
    done = subprocess.run([tmp_path / "page"], cwd=tmp_path, capture_output=True, text=True, check=True)
    program = Program.load(example())
    expected = interpret(program, np.zeros((1, *program.input_shape), np.float32), 4)
    assert done.stdout.split() == [f"{value:g}" for value in expected[0]]
