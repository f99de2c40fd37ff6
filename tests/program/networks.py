"""Random programs whose layers are wide enough for every kernel, and controllers that batches divide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.program.interpret import execute
from dqt.program.operator import Operator
from dqt.program.ops.add import Add
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.testing import Builder, Shape, random_instruction, random_layer

SPACES: tuple[Shape, ...] = ((8, 2, 3, 4), (8, 2, 3), (8, 2, 4, 6), (8, 1, 2, 3), (4, 2, 3), (3, 2))
"""The master width, and some others."""
COUNTS = (5, 20, 33, 48, 64, 70, 100)
"""Output channels: kernels differ in panels of up to 16, 32 and 64; some want more than 32 in every panel."""
LAYERS = {"plain": 1, "residual": 2, "join": 2, "separable": 2, "any": 1, "matrix": 1, "table": 1}
"""Kinds of a block, and the layers of each."""
BLOCKS = tuple(LAYERS)


def random_network(seed: int) -> Program:
    """A program with layers that are wide enough for every kernel, and a controller that governs most of them."""
    rng = np.random.default_rng([seed, 1])
    master, *others = (8, 2, 3, 4, 5, 6, 7) if rng.integers(2) else SPACES[int(rng.integers(len(SPACES)))]
    widths = tuple(sorted({master, *others}))
    channels, height, width = (int(rng.choice(some)) for some in ((1, 3, 4, 9), (3, 4, 6, 7), (3, 5, 7)))
    b = Builder(
        seed + 1,
        (channels, height, width),
        master=master,
        widths=widths,
        signed=bool(rng.integers(2)),
        varied=seed % 2 == 1,
    )
    kinds = [BLOCKS[i] for i in rng.integers(len(BLOCKS), size=rng.integers(1, 4))]
    x = b.conv("v0", int(rng.choice(COUNTS)))
    choices = tuple(sorted(int(w) for w in rng.choice(widths, int(rng.integers(2, len(widths) + 1)), replace=False)))
    b.control(x, sum(LAYERS[kind] for kind in kinds), choices)
    for kind in kinds:
        x = block(b, kind, x)
    if rng.integers(2):
        x = random_instruction(b, x)
    return b.build(b.linear(b.flatten(x), 5, integers=bool(rng.integers(4))), choices=choices)


def block(b: Builder, kind: str, x: str) -> str:
    """One block of ``random_network``: what reads ``x``, and the name of its result."""
    channels, count = b.values[x].shape[0], int(b.rng.choice(COUNTS))
    side = int(b.rng.choice([1, 3, 3]))
    geometry: dict[str, Any] = {"kernel": (side, side), "padding": (side // 2,) * 4}
    if kind == "residual":
        y = b.conv(x, count, (1, 1), padding=(0, 0, 0, 0))
        return b.binary(Add, *((b.conv(y, count, **geometry), y) if b.rng.integers(2) else (y, b.conv(y, count))))
    if kind == "join":
        left, right = b.conv(x, count, **geometry), b.conv(x, 20)
        b.values[right] = replace(b.values[right], scale=b.values[left].scale, zero=b.values[left].zero)
        return b.concat([left, right])
    if kind == "separable":
        return b.conv(b.conv(x, channels, groups=channels, stride=(1, 2)), count, (1, 1), padding=(0, 0, 0, 0))
    if kind == "any":
        return random_layer(b, x)
    if kind == "matrix":
        return b.linear(x, int(b.rng.choice(COUNTS)))
    if kind == "table":
        return b.table(b.conv(x, count, **geometry))
    stride, dilation = ((2, 2), (1, 1)) if b.rng.integers(2) else ((1, 2), (2, 1))
    return b.conv(x, count, (3, 3), stride=stride, dilation=dilation, padding=(2, 2, 1, 1))


def divided(program: Program, x: npt.NDArray[np.float32]) -> Program:
    """The program with a controller to whom half of the samples ``x`` lie to either side of every logit."""
    choose = program.choose
    assert choose is not None
    logits = execute(program, x, "auto", keep=True).values[choose.x].astype(np.int64)
    middle = np.median(logits, axis=0).astype(np.int64)

    def centred(op: Operator) -> Operator:
        if not isinstance(op, Linear) or op.out != choose.x:
            return op
        return replace(op, c=op.c - (middle << op.shift))

    return replace(program, ops=tuple(centred(op) for op in program.ops))
