"""Random legal programs and inputs for them, by seed: every operator, odd geometry, clamps, and a controller."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dqt.program.ops.add import Add
from dqt.program.ops.multiply import Multiply
from dqt.program.program import Program
from dqt.testing.builder import Builder


def random_program(seed: int, *, auto: bool = False) -> Program:
    """A program of a few random instructions; ``auto``: with a controller that governs the middle layers.

    Strides, paddings, dilations, groups, zero points, clamps, bits of a code and widths are all random; the same
    ``seed`` makes the same program.
    """
    rng = np.random.default_rng(seed)
    master = int(rng.choice([8, 8, 8, 4, 2]))
    widths = tuple(sorted({master, *(int(b) for b in rng.integers(1, master + 1, 3))}))
    shape = tuple(int(d) for d in rng.choice([1, 2, 3, 5, 7], 3))
    b = Builder(seed + 1, shape, master=master, widths=widths, signed=bool(rng.integers(2)))
    x = b.conv("v0", 4, (1, 1), padding=(0, 1, 1, 0))
    middle = int(rng.integers(1, 4))
    if auto:
        b.control(x, middle, widths)
    for _ in range(middle):
        x = random_instruction(b, random_layer(b, x))
    return b.build(random_ending(b, x), choices=widths if auto else ())


def random_layer(b: Builder, x: str) -> str:
    """Append a convolution of random legal geometry that reads ``x``."""
    channels, height, width = b.values[x].shape
    kernel = tuple(int(k) for k in b.rng.choice([1, 2, 3], 2))
    dilation = tuple(int(d) for d in b.rng.choice([1, 1, 2], 2))
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    need = [max(0, e - side) for e, side in zip(extent, (height, width), strict=True)]
    top, bottom, left, right = (int(p) for p in b.rng.integers(0, 3, 4))
    padding = (top + need[0], bottom, left + need[1], right)
    stride = tuple(int(s) for s in b.rng.choice([1, 2, 3], 2))
    groups = int(b.rng.choice([g for g in (1, 2, channels) if channels % g == 0]))
    count = groups * int(b.rng.integers(1, 3)) if groups > 1 else int(b.rng.integers(1, 6))
    return b.conv(x, count, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)


def random_instruction(b: Builder, x: str) -> str:
    """Append an instruction without weights that reads ``x`` of shape ``(C, H, W)``."""
    channels, height, width = b.values[x].shape
    kind = int(b.rng.integers(14))
    if kind == 0:
        return b.binary(Add, x, b.rescale(x))
    if kind == 1:
        return b.binary(Multiply, b.avg_pool(x), x)
    if kind == 2:
        return b.concat([x, b.slice(x, (0, 0, 0), (channels, height, width), (2, 1, 1))])
    if kind == 3:
        return b.max_pool(x, (2, 2), (1, 2), (1, 1, 0, 1) if width > 1 else (1, 1, 1, 0))
    if kind == 4:
        return b.avg_pool(x, (min(2, height), min(3, width)))
    if kind == 5:
        return b.table(x)
    if kind == 6:
        return b.pad(x, (1, 0, 2), (0, 1, 0))
    if kind == 7:
        return b.reshape(x, (height, channels, width))
    if kind == 8:
        return b.binary(Add, b.constant((channels, 1, width)), x)
    return random_other(b, x)


def random_other(b: Builder, x: str) -> str:
    """Append an instruction that moves codes, reduces dimensions, or gives an image another size."""
    kind = int(b.rng.integers(6))
    if kind == 0:
        return random_gather(b, x)
    if kind == 1:
        return b.binary(Add, b.max(x, some_axes(b, 3)), x)
    if kind == 2:
        return b.binary(Add, b.mean(x, some_axes(b, 3)), x)
    if kind == 3:
        return random_resize(b, x)
    if kind == 4:
        return b.table(x, by_channel=True)
    return b.transpose(x, random_axes(b, 3))


def random_gather(b: Builder, x: str) -> str:
    """Append elements of ``x`` along any dimension, in runs and out of order, some of them never."""
    axis = int(b.rng.integers(len(b.values[x].shape)))
    length = b.values[x].shape[axis]
    first, step = int(b.rng.integers(length)), int(b.rng.choice([-1, 1, 2]))
    run = [i for i in range(first, first + 3 * step, step) if 0 <= i < length]
    return b.gather(x, axis, [*run, *(int(i) for i in b.rng.integers(0, length, 3))])


def random_resize(b: Builder, x: str) -> str:
    """Append an image in another size, which is given, or follows from a factor, or both."""
    rows, columns = (int(d) for d in b.rng.integers(1, 8, 2))
    steps = [(0, 0), (1, 2), (2, 3), (5, 7)]
    size, (down, across) = (rows, columns), (steps[int(i)] for i in b.rng.integers(4, size=2))
    if down[0] and across[0] and b.rng.integers(2):
        size = (0, 0) if min(b.values[x].shape[1:]) > 1 else (rows, 0)
    return b.resize(x, size, (*down, *across), corners=bool(b.rng.integers(2)))


def some_axes(b: Builder, count: int) -> tuple[int, ...]:
    """One dimension or more of so many, ascending."""
    return tuple(sorted(random_axes(b, count)[: int(b.rng.integers(1, count + 1))]))


def random_axes(b: Builder, count: int) -> tuple[int, ...]:
    """A random order of so many dimensions."""
    return tuple(int(axis) for axis in b.rng.permutation(count))


def random_ending(b: Builder, x: str) -> str:
    """Append a last layer, of int32 outputs or of codes, and what moves its results; the program's output."""
    wide, kind = bool(b.rng.integers(4)), int(b.rng.integers(6))
    if kind == 0:  # an image of results, then another of the same elements, cut
        x = b.conv(x, 6, (1, 1), padding=(0, 0, 0, 0), wide=wide)
        _, height, width = b.values[x].shape
        x = b.reshape(b.slice(x, (1, 0, 0), (6, height, width), (2, 1, 1)), (height, 3, width))
        return b.flatten(b.slice(x, (0, 0, 0), (height, 3, width), (1, 1, 2)))
    if kind == 5:  # features innermost, for one linear layer at every pixel
        _, height, width = b.values[x].shape
        x = b.transpose(b.linear(b.transpose(x, (1, 2, 0)), 3, wide=wide), random_axes(b, 3))
        return b.transpose(b.reshape(x, (1, 3, width * height)), random_axes(b, 3))
    x = b.linear(b.flatten(x), 6, wide=wide)
    if kind == 1:
        return b.slice(b.reshape(x, (3, 1, 2)), (1, 0, 0), (3, 1, 2), (1, 1, 1))
    if kind == 2:
        return b.reshape(b.slice(x, (4,), (5,), (1,)), ())
    return b.reshape(x, (2, 3)) if kind == 3 else x


def inputs(program: Program, count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Random samples ``float32[count, *input_shape]`` that reach both ends of the input's range and its ties."""
    rng = np.random.default_rng(seed)
    step, zero = program.values[0].step, program.values[0].zero
    top = (1 << program.space.master) - 1
    low = rng.integers(-2 * top, 2 * top, (count, *(1 for _ in program.input_shape)))  # dark and bright samples
    codes = (low + rng.integers(0, 3 * top, (count, *program.input_shape))) / 2 - zero
    return (codes * step).astype(np.float32)


def extremes(program: Program, count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Samples ``float32[count, *input_shape]`` of numbers far beyond one end of the input's range or the other."""
    high = np.random.default_rng(seed).random((count, *program.input_shape)) < 0.5
    return np.where(high, np.float32(1e9), np.float32(-1e9))
