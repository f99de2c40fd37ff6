"""Products of 2 by 2 bits by table lookup against the block kernel: a micro kernel each, built here and run in turns.

Needs AVX-512 VNNI, VBMI and a compiler for C++20. The kernel of a lookup is measured before one is written for the
engine; see docs/kernels.md.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from bench.common import Check, parser, write
from dqt.runtime.bench import Spread

ROOT = Path(__file__).parents[1]
KERNELS = ("avx512vnni", "winograd_avx512", "sliced_avx512")
FLAGS = ("-std=c++20", "-O3", "-w", *(f"-mavx512{each}" for each in ("f", "bw", "vl", "dq", "vnni", "vbmi")))
FASTER = 1.3
"""What would repay a second layout of the weights."""


def main() -> None:
    """Build, measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--compiler", default="g++")
    arguments = options.parse_args()
    sources = [ROOT / "csrc" / "simd" / f"{name}.cc" for name in KERNELS] + [ROOT / "bench" / "lookup.cc"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "lookup"
        subprocess.run([arguments.compiler, *FLAGS, *map(str, sources), "-o", str(program)], check=True)
        found = json.loads(subprocess.run([program], check=True, capture_output=True, text=True).stdout)
    block, lookup = np.array(found["block_us"]), np.array(found["lookup_us"])
    ratio = Spread.of(list(block / lookup))
    results = {
        "block_us": vars(Spread.of(list(block))),
        "lookup_us": vars(Spread.of(list(lookup))),
        "times_as_fast": vars(ratio),
        "block_gmacs": vars(Spread.of(list(found["macs"] / block / 1e3))),
    }
    settings = {"layer": "3x3, 64 to 64 channels, 56x56 pixels", "threads": 1, "weights": 2, "activations": 2}
    what = "lookup, times as fast as the block kernel, its packing and requantization left out"
    write("lookup", settings=settings, results=results, checks=[Check(what, ratio.median, ">=", FASTER)])


if __name__ == "__main__":
    main()
