"""The public face: every name is there, in every order of import, without torch until torch is needed."""

import json
import subprocess
import sys

import pytest

import dqt

NO_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lightning_fabric", "sklearn", "tensorboard", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""

IMPORT_ORDERS = [
    "import dqt; assert callable(dqt.lower); import dqt.lower.emit; assert callable(dqt.lower)",
    "import dqt.lower.emit; import dqt; assert callable(dqt.lower)",
    "from dqt import lower; assert callable(lower); import dqt; assert callable(dqt.lower)",
    "import dqt.lower.emit as emit; import dqt; assert callable(emit.lower); assert callable(dqt.lower)",
    "from dqt.lower import emit; from dqt import lower; assert callable(emit.lower); assert callable(lower)",
    "import dqt; f = dqt.lower; from dqt.lower.emit import lower; assert callable(f); assert callable(lower)",
    "import dqt; dqt.cost; import dqt.arith.cost; from dqt.arith import cost; assert callable(dqt.cost)",
    "import dqt.program.interpret; import dqt; assert callable(dqt.interpret)",
    "import dqt.nn.calibrate, dqt.nn.prepare, dqt; assert callable(dqt.calibrate); assert callable(dqt.prepare)",
    "import dqt.train.search, dqt; assert callable(dqt.search)",
]

IN_CHILDREN = """
import json, os, sys, traceback
import torch  # for all children at once
said = []
for code in json.loads(sys.argv[1]):
    out, into = os.pipe()
    if not os.fork():
        try:
            exec(code, {"__name__": "__main__"})
            os.write(into, b"done")
        except BaseException:
            os.write(into, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(into)
    said.append(os.fdopen(out).read())
    os.wait()
json.dump(said, sys.stdout)
"""


def python(code: str, *arguments: str) -> str:
    """Run ``code`` in a fresh interpreter; its standard output."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def ended() -> dict[str, str]:
    """How each of ``IMPORT_ORDERS`` ends, in a process of its own that has imported torch and nothing of ours."""
    return dict(zip(IMPORT_ORDERS, json.loads(python(IN_CHILDREN, json.dumps(IMPORT_ORDERS))), strict=True))


@pytest.mark.parametrize("name", dqt.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(dqt, name) is not None
    assert name in dir(dqt)


@pytest.mark.parametrize("code", IMPORT_ORDERS)
def test_a_function_keeps_its_name_in_every_order_of_import(code: str, ended: dict[str, str]) -> None:
    assert ended[code] == "done"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dqt' has no attribute 'quantise'"):
        _ = dqt.quantise  # type: ignore[attr-defined]


def test_import_is_quick_and_brings_no_torch() -> None:
    code = """
import sys, time
start = time.perf_counter()
import dqt
print(time.perf_counter() - start, *[m for m in ("torch", "scipy", "matplotlib", "pydantic") if m in sys.modules])
"""
    best = min(float(python(code).split()[0]) for _ in range(3))
    assert best < 0.2
    assert len(python(code).split()) == 1


@pytest.mark.parametrize("name", ["prepare", "calibrate", "fit", "objective"])
def test_a_missing_library_names_the_extra_that_brings_it(name: str) -> None:
    code = f"""{NO_TORCH}
import dqt
try:
    dqt.{name}
except ImportError as error:
    assert 'pip install "dqt[train]"' in str(error), error
else:
    raise AssertionError("no error")
"""
    python(code)


def test_lowering_without_torch_names_the_extra() -> None:
    code = f"""{NO_TORCH}
import dqt
try:
    dqt.lower(None)
except ImportError as error:
    assert 'pip install "dqt[train]"' in str(error), error
else:
    raise AssertionError("no error")
"""
    python(code)


def test_a_machine_without_torch_can_load_and_run_programs() -> None:
    python(f"{NO_TORCH}\nimport dqt\ndqt.Program, dqt.Plan, dqt.Cascade, dqt.interpret, dqt.cost, dqt.ProgramError")
