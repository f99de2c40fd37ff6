"""Random programs whose controller decides late: inside of the network, or behind it, and then samples run again."""

from __future__ import annotations

import numpy as np

from dqt.program.ops.add import Add
from dqt.program.program import Program
from dqt.testing.builder import Builder
from dqt.testing.programs import random_ending, random_instruction, random_layer, random_widths


def random_late(seed: int, *, again: bool) -> Program:
    """A program of a few random instructions with a controller that decides late; the same ``seed`` makes the same.

    It reads the largest of what it looks at, in order. ``again``: it stands behind the network, which samples may run
    through once more; otherwise in its middle, behind a layer that always runs at the first width.
    """
    rng = np.random.default_rng([seed, 7])
    master, widths = random_widths(rng)
    shape = tuple(int(d) for d in rng.choice([1, 2, 3, 5, 7], 3))
    b = Builder(seed + 1, shape, master=master, widths=widths, varied=bool(rng.integers(2)))
    x = b.conv("v0", 4, (1, 1), padding=(0, 1, 1, 0))
    x = random_instruction(b, random_layer(b, x))
    if not again:
        b.control_late(_read(b, x), 1, widths, int(rng.choice(widths)), again=False)
    y = random_ending(b, random_instruction(b, random_layer(b, x)))
    if b.values[y].shape and rng.integers(2):
        y = b.top_k(y, int(rng.integers(b.values[y].shape[-1])) + 1)
    if again:
        b.control_late(_read(b, y), len(b.layers) - 2, widths, widths[0], again=True)
    return b.build(y, choices=widths)


def _read(b: Builder, x: str) -> str:
    """What a controller looks at: how far the largest lie below the largest of all, or their order alone."""
    flat = b.flatten(x)
    (length,) = b.values[flat].shape
    top = b.top_k(flat, min(length, 1 + int(b.rng.integers(5))))
    (count,) = b.values[top].shape
    if count == 1:
        return b.rescale(top)
    return b.binary(Add, b.slice(top, (0,), (1,), (1,)), b.slice(top, (1,), (count,), (1,)))
