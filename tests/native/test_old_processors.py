"""The engine as it is installed on processors that lack instructions which others have (QEMU): it loads and is exact.

What a library does as it is loaded runs before any question about the processor is asked.
"""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

import dqt
from dqt.shipped import example
from tests.native.build import needs, python_on

SETS = {"Haswell": ("avx2", "portable"), "Nehalem": ("portable",)}
"""Processors of QEMU -> the kernel sets that run there."""
WIDTHS, IMAGES = (8, 2), 2
WORKER = """
import sys
import numpy
from dqt.runtime.runtime import Runtime, kernel_sets
found, file, x = {}, sys.argv[1], numpy.load(sys.argv[2])
for isa in kernel_sets():
    run = Runtime(file, threads=1, isa=isa)
    for width in map(int, sys.argv[4:]):
        found[f"{isa}.{width}"] = run.codes(x, width)
numpy.savez(sys.argv[3], **found)
"""


@needs("qemu-x86_64")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="NOT tested: the engine here has no kernels for x86")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cpu", SETS)
def test_it_loads_and_is_exact(cpu: str, tmp_path: Path) -> None:
    file, here = example(), dqt.Runtime(example(), threads=1)
    x = np.random.default_rng(0).uniform(-2, 2, (IMAGES, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    python_on(cpu, WORKER, file, tmp_path / "x.npy", tmp_path / "out.npz", *WIDTHS)
    with np.load(tmp_path / "out.npz") as found:
        assert set(found) == {f"{isa}.{width}" for isa in SETS[cpu] for width in WIDTHS}
        for key, got in found.items():
            np.testing.assert_array_equal(got, here.codes(x, int(key.split(".")[1])))
