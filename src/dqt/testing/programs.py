"""Random legal programs and inputs for them, by seed: every operator, odd geometry, clamps, and a controller."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.program.inputs import plain
from dqt.program.ops.add import Add
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.slice import END
from dqt.program.program import Program
from dqt.program.signature import Entry, Signature
from dqt.program.values import INTEGER, Input
from dqt.testing.builder import Builder
from dqt.testing.draw import Integers

Sizes = dict[str, int]


def random_program(seed: int, *, auto: bool = False) -> Program:
    """A program of a few random instructions; ``auto``: with a controller that governs the middle layers.

    Strides, paddings, dilations, groups, zero points, clamps, bits of a code and widths are all random; the same
    ``seed`` makes the same program.
    """
    rng = np.random.default_rng(seed)
    master, widths = random_widths(rng)
    shape = tuple(int(d) for d in rng.choice([1, 2, 3, 5, 7], 3))
    axis = int(rng.integers(3)) if rng.integers(3) == 0 else None
    signed, varied = (bool(rng.integers(2)) for _ in range(2))
    b = Builder(seed + 1, shape, master=master, widths=widths, signed=signed, varied=varied, axis=axis)
    x = b.conv("v0", 4, (1, 1), padding=(0, 1, 1, 0))
    middle = int(rng.integers(1, 4))
    if auto:
        b.control(x, middle, widths)
    for _ in range(middle):
        x = random_instruction(b, random_layer(b, x))
    return b.build(random_ending(b, x), choices=widths if auto else ())


def random_widths(rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
    """A master width, and the widths of a space that holds it."""
    master = int(rng.choice([8, 8, 8, 4, 2]))
    return master, tuple(sorted({master, *(int(b) for b in rng.integers(1, master + 1, 3))}))


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
    """Append an instruction without weights that reads codes ``x`` of shape ``(C, H, W)``; its result is codes too."""
    channels, height, width = b.values[x].shape
    kind = int(b.rng.integers(15))
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
        return b.reshape(x, (height, -1, width) if b.rng.integers(2) else (height, channels, 0))
    if kind == 8:
        return b.binary(Add, b.constant((channels, 1, width)), x)
    if kind == 9:
        return b.rescale(random_integers(b, b.rescale(x, integers=random_interval(b))))
    return random_other(b, x)


def random_interval(b: Builder) -> Integers:
    """An interval of integers: of 8, 16, 24 or 32 bits, to both sides of 0 or to one."""
    return ((-128, 127), (-32768, 32767), True, (-(2**31) + 1, 2**31 - 1), (-3, 2**15), (0, 40000))[
        int(b.rng.integers(6))
    ]


def random_integers(b: Builder, x: str) -> str:
    """Append an instruction that reads integers ``x`` of shape ``(C, H, W)``, and gives integers."""
    channels, height, width = b.values[x].shape
    small, kind = b.values[x].reach < 2**16, int(b.rng.integers(12))
    if kind == 0:
        return b.binary(Add, x, b.constant((channels, 1, width), integers=random_interval(b)), integers=True)
    if kind == 1 and small:
        return b.binary(Multiply, x, b.constant((1, height, 1), integers=(-99, 99)), integers=random_interval(b))
    if kind == 2 and small:
        return b.avg_pool(x, (1, min(2, width)), integers=random_interval(b))
    if kind == 3:
        return b.max_pool(x, (2, 2), (1, 1), (1, 0, 1, 0))
    if kind == 4:
        return b.pad(x, (1, 0, 0), (0, 2, 0))
    if kind == 5:
        return b.concat([x, b.slice(x, (0, -1, 0), (END, END, END), (1, 1, 1))], axis=1)
    if kind == 6:
        return b.binary(Add, b.rescale(x), x, integers=random_interval(b))
    if kind == 7:
        return b.mean(x, some_axes(b, 3), integers=random_interval(b))
    return random_other_integers(b, x)


def random_other_integers(b: Builder, x: str) -> str:
    """Append an instruction that moves integers, or takes the largest, or gives an image another size."""
    kind = int(b.rng.integers(4))
    if kind == 0:
        return random_gather(b, x)
    if kind == 1:
        return b.max(x, some_axes(b, 3))
    if kind == 2:
        return random_resize(b, x)
    return b.transpose(x, random_axes(b, 3))


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
    integers, kind = bool(b.rng.integers(4)), int(b.rng.integers(6))
    if kind == 0:  # an image of results, then another of the same elements, cut
        x = b.conv(x, 6, (1, 1), padding=(0, 0, 0, 0), integers=integers)
        _, height, width = b.values[x].shape
        x = b.reshape(b.slice(x, (1, 0, 0), (6, height, width), (2, 1, 1)), (height, 3, width))
        return b.flatten(b.slice(x, (0, 0, 0), (height, 3, width), (1, 1, 2)))
    if kind == 5:  # features innermost, for one linear layer at every pixel
        _, height, width = b.values[x].shape
        x = b.transpose(b.linear(b.transpose(x, (1, 2, 0)), 3, integers=integers), random_axes(b, 3))
        return b.transpose(b.reshape(x, (1, 3, width * height)), random_axes(b, 3))
    x = b.linear(b.flatten(x), 6, integers=integers)
    if kind == 1:
        return b.slice(b.reshape(x, (3, 1, 2)), (1, 0, 0), (3, 1, 2), (1, 1, 1))
    if kind == 2:
        return b.reshape(b.slice(x, (4,), (5,), (1,)), ())
    return b.reshape(x, (2, 3)) if kind == 3 else x


def random_model(seed: int, *, auto: bool = False) -> Program:
    """A program with two inputs, three outputs, a state and a named dimension; ``auto``: with a controller, too.

    The inputs are an image whose height has a name, and tokens, as many as the image is high; the controller reads a
    third. The state is what the image became in the run before.
    """
    rng = np.random.default_rng([seed, 3])
    master, widths = random_widths(rng)
    channels, height, width, count = (int(rng.integers(low, 6)) for low in (1, 2, 2, 1))
    dims, middle = ("", "height", ""), int(rng.integers(1, 3))
    shape = (channels, height, width)
    b = Builder(seed + 1, shape, master=master, widths=widths, varied=True, name="image", dims=dims, axis=0)
    b.dimension("height", 1, int(rng.integers(7, 12)))
    lo, hi = ((-2, int(rng.integers(9, 9000))), (0, 2 ** int(rng.integers(1, master + 1)) - 1))[int(rng.integers(2))]
    tokens = b.tokens("tokens", (height, count), lo, hi, dims=("height", ""))
    x = b.conv("v0", 4, (3, 1), padding=(1, 1, 0, 0))
    if auto:
        b.control(b.input("hint", (7,)), middle, widths)
    for _ in range(middle):
        x = b.conv(resizable(b, x), 4, (1, 3), padding=(0, 0, 1, 1))
    past = b.state("past", b.values[x].shape, integers=bool(rng.integers(2)) and (-30000, 30000), dims=dims)
    now = b.rescale(b.binary(Add, x, past), like=past)
    b.store(now, "past")
    b.output(b.linear(b.rescale(now), 5, integers=True), "scores")
    words = b.rescale(b.reshape(b.slice(tokens, (0, 0), (END, 1), (1, 1)), (1, -1, 1)), integers=(-99, 99))
    b.output(b.slice(b.binary(Multiply, words, b.rescale(now)), (-2, 0, 0), (END, END, END), (1, 1, 1)), "mixed")
    b.output(tokens, "tokens")
    return b.build(choices=widths if auto else ())


def resizable(b: Builder, x: str) -> str:
    """Append an instruction that takes any height of codes ``x``, ``(C, H, W)``, and keeps their shape."""
    channels, _, width = b.values[x].shape
    kind = int(b.rng.integers(9))
    if kind == 0:
        return b.transpose(b.reshape(b.transpose(x, (1, 0, 2)), (0, channels, width)), (1, 0, 2))
    if kind == 1:
        return b.reshape(b.reshape(x, (0, -1)), (channels, -1, width))
    if kind == 2:
        return b.slice(b.concat([x, x], axis=1), (0, 0, 0), (END, END, END), (1, 2, 1))
    if kind == 3:
        return b.max_pool(x, (3, 1), (1, 1), (1, 1, 0, 0))
    if kind == 4:
        return b.table(x)
    if kind == 5:
        return b.binary(Add, b.mean(x, (1,)), x)
    if kind == 6:
        return b.binary(Add, b.max(x, (1, 2)), x)
    if kind == 7:
        twice = b.resize(x, (0, 0), (1, 2, 1, 2), corners=bool(b.rng.integers(2)))
        return b.slice(twice, (0, 1, 0), (END, END, END), (1, 2, 2))
    return b.binary(Add, x, b.constant(b.values[x].shape, integers=(-9, 9), dims=("", "height", "")))


def inputs(program: Program, count: int, seed: int = 0, sizes: Sizes | None = None) -> Any:
    """Random samples ``[count, *shape]`` of each input: an array, or of a program with several a dict by name.

    Floats reach both ends of the input's range and its ties; ``sizes``: of named dimensions.
    """
    rng = np.random.default_rng(seed)
    signature = Signature.of(program.bind(**(sizes or {})))
    return plain({given.name: _samples(signature, given, count, rng) for given in signature.inputs})


def _samples(signature: Signature, given: Input, count: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    if given.kind == INTEGER:
        return rng.integers(given.lo, given.hi + 1, (count, *given.shape))
    top = (1 << signature.space.master) - 1
    low = rng.integers(-2 * top, 2 * top, (count, *(1 for _ in given.shape)))  # dark and bright samples
    codes = (low + rng.integers(0, 3 * top, (count, *given.shape))) / 2
    return _reals(codes, signature.entries[given.name], len(given.shape))


def _reals(codes: npt.NDArray[np.float64], entry: Entry, rank: int) -> npt.NDArray[np.float32]:
    """What becomes these codes."""
    gain, bias = entry.shaped(rank)
    return ((codes - entry.value.zero - bias) / gain).astype(np.float32)


def extremes(program: Program, count: int, seed: int = 0, sizes: Sizes | None = None) -> Any:
    """Samples of each input far beyond one end of its range or the other; of integers its ends. See :func:`inputs`."""
    rng = np.random.default_rng(seed)
    found = {}
    for given in program.bind(**(sizes or {})).inputs:
        low, high = (given.lo, given.hi) if given.kind == INTEGER else (np.float32(-1e9), np.float32(1e9))
        found[given.name] = np.where(rng.random((count, *given.shape)) < 0.5, high, low)
    return plain(found)
