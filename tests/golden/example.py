"""The integers of the example that ships, as digests: whatever is rebuilt, they stay.

``python -m tests.golden.example`` writes them anew; that changes what every served network answers, and needs a reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import dqt
from dqt.arith.plan import PlanLike
from dqt.program.interpret import Result, execute
from dqt.program.pixels import pixels_to_inputs

FILE = Path(__file__).with_name("example.json")
IMAGES, PLAIN = 40, 12


def images() -> npt.NDArray[np.uint8]:
    """uint8 ``[N, 3, 32, 32]`` from integers alone: waves and noise, then plain colours, which "auto" tells apart."""
    n, c, y, x = np.indices((IMAGES, 3, 32, 32), dtype=np.int64)
    waves = (x * (n + 1) * 5 + y * (7 - n % 5) * (c + 2)) % 256
    noise = ((n * 3 + c) * 1024 + y * 32 + x) * 2654435761 % 2**32 >> 24
    busy = np.where(n % 3 == 2, noise, (3 * waves + noise) // 4)
    return np.where(n < PLAIN, busy, n * 42 * (c + 1) % 256).astype(np.uint8)


def plans(program: dqt.Program) -> Mapping[str, PlanLike]:
    """Label -> plan: every width, a plan by layer with unequal pairs, "auto", and two cascades."""
    widths = program.space.widths
    pairs = {name: (widths[i % 7], widths[(3 * i + 2) % 7]) for i, name in enumerate(program.layers)}
    return {
        **{str(b): b for b in widths},
        "pairs": pairs,
        "auto": "auto",
        "cascade": dqt.Cascade((2, 4, 8), (400_000, 200_000)),
        "cascade of two": dqt.Cascade((3, 8), (300_000,)),
    }


def digests(run: Callable[[npt.NDArray[np.float32], PlanLike], Result], program: dqt.Program) -> dict[str, Any]:
    """SHA-256 of integers, widths and passes of each plan."""
    x = pixels_to_inputs(program, images())
    return {label: _digest(run(x, plan)) for label, plan in plans(program).items()}


def _digest(result: Result) -> str:
    sha = hashlib.sha256()
    for array, dtype in ((result.codes, "<i4"), (result.widths, "<i1"), (result.passes, "<i1")):
        sha.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
    return sha.hexdigest()


if __name__ == "__main__":
    example = dqt.Program.load(dqt.example())
    FILE.write_text(json.dumps(digests(lambda x, plan: execute(example, x, plan), example), indent=1) + "\n")
