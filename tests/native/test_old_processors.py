"""The engine as it is installed on processors that lack instructions which others have (QEMU): it loads and is exact.

What a library does as it is loaded runs before any question about the processor is asked.
"""

from __future__ import annotations

import platform
import site
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dqt
from dqt.shipped import example
from tests.native.build import needs

SETS = {"Haswell": ("avx2", "portable"), "Nehalem": ("portable",)}
"""Processors of QEMU -> the kernel sets that run there."""
WIDTHS, IMAGES = (8, 2), 2
WORKER = """
import site, sys
site.addsitedir(sys.argv[1])
import numpy
from dqt.runtime.runtime import Runtime, kernel_sets
found, file, x = {}, sys.argv[2], numpy.load(sys.argv[3])
for isa in kernel_sets():
    run = Runtime(file, threads=1, isa=isa)
    for width in map(int, sys.argv[5:]):
        found[f"{isa}.{width}"] = run.codes(x, width)
numpy.savez(sys.argv[4], **found)
"""


@needs("qemu-x86_64")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="NOT tested: the engine here has no kernels for x86")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cpu", SETS)
def test_it_loads_and_is_exact(cpu: str, tmp_path: Path) -> None:
    (sites,) = {part for part in site.getsitepackages() if (Path(part) / "numpy").exists()}
    file, here = example(), dqt.Runtime(example(), threads=1)
    x = np.random.default_rng(0).uniform(-2, 2, (IMAGES, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    python, out = str(Path(sys.executable).resolve()), tmp_path / "out.npz"
    given = (sites, file, tmp_path / "x.npy", out, *WIDTHS)
    call = ["qemu-x86_64", "-cpu", cpu, python, "-c", WORKER, *map(str, given)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-2000:]}"
    with np.load(out) as found:
        assert set(found) == {f"{isa}.{width}" for isa in SETS[cpu] for width in WIDTHS}
        for key, got in found.items():
            np.testing.assert_array_equal(got, here.codes(x, int(key.split(".")[1])))
