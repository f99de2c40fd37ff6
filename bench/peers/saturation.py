"""The share of sums that saturate where pairs of products are added in 16 bits, as processors without VNNI do it.

``vpmaddubsw`` multiplies uint8 by int8 and adds two products with saturation to [-32768, 32767]. Engines that give it
codes as they are let two neighbouring channels be a pair: a sum is counted here as soon as one of its pairs does not
fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.export.reals import WIDTH, layer_of
from dqt.program.interpret import execute
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.program import Program

POSITIONS, COLUMNS = 24, 64
"""Positions of each layer's output that are looked at, drawn at random; outputs at a time."""
LOWEST, HIGHEST = -(1 << 15), (1 << 15) - 1
Ints = npt.NDArray[np.int32]


def saturating(program: Program, x: npt.NDArray[Any]) -> dict[str, float]:
    """Shares over all sums of the network's layers without groups, and the most of one layer; at 8 bits."""
    values = execute(program, x, WIDTH, keep=True).values
    rng = np.random.default_rng(0)
    sums, found, worst = 0.0, 0.0, 0.0
    for op in program.ops:
        if not isinstance(op, Conv | Linear) or (isinstance(op, Conv) and op.groups > 1) or op.x not in values:
            continue
        rows = windows(op, np.asarray(values[op.x]), zero_of(program, op.x), rng)
        share = float(np.mean([beyond(rows, some) for some in outputs(program, op)]))
        count = float(np.prod(np.asarray(values[op.out]).shape[1:]))
        sums, found, worst = sums + count, found + share * count, max(worst, share)
    return {"share": float(f"{found / sums:.3g}"), "worst_layer": float(f"{worst:.3g}")}


def zero_of(program: Program, name: str) -> int:
    """The code of 0."""
    return next(value.zero for value in program.values if value.name == name)


def outputs(program: Program, op: Conv | Linear) -> Iterator[Ints]:
    """Weights as other engines take them, ``[some outputs, taps * channels]``: channels of a tap are neighbours."""
    weight = layer_of(op, program, {value.name: value for value in program.values}).weight
    last = np.moveaxis(weight, 1, -1) if weight.ndim == 4 else weight
    flat = last.reshape(len(weight), -1).astype(np.int32)
    for first in range(0, len(flat), COLUMNS):
        yield flat[first : first + COLUMNS]


def windows(op: Conv | Linear, codes: npt.NDArray[Any], zero: int, rng: np.random.Generator) -> Ints:
    """What some outputs read, ``[positions, taps * channels]``."""
    if isinstance(op, Linear):
        rows = codes.reshape(-1, codes.shape[-1])
        return rows[rng.integers(0, len(rows), POSITIONS)].astype(np.int32)
    top, bottom, left, right = op.padding
    padded = np.pad(codes, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=zero)
    across = [(size - 1) * step + 1 for size, step in zip(op.weight.shape[2:], op.dilation, strict=True)]
    high, wide = (
        (full - size) // step + 1 for full, size, step in zip(padded.shape[2:], across, op.stride, strict=True)
    )
    places = zip(*(rng.integers(0, most, POSITIONS) for most in (len(codes), high, wide)), strict=True)
    (down, right_), (dy, dx) = op.stride, op.dilation
    cut = [
        padded[n, :, y * down : y * down + across[0] : dy, z * right_ : z * right_ + across[1] : dx]
        for n, y, z in places
    ]
    return np.moveaxis(np.stack(cut), 1, -1).reshape(POSITIONS, -1).astype(np.int32)


def beyond(rows: Ints, weight: Ints) -> float:
    """The share of sums ``[positions, outputs]`` in which a pair of products leaves 16 bits."""
    if rows.shape[1] % 2:
        rows, weight = (np.pad(each, ((0, 0), (0, 1))) for each in (rows, weight))
    even = rows[:, None, 0::2] * weight[None, :, 0::2]
    odd = rows[:, None, 1::2] * weight[None, :, 1::2]
    pairs = even + odd
    return float(((pairs < LOWEST) | (pairs > HIGHEST)).any(2).mean())
