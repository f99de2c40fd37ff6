"""Integer programs written by hand, instruction by instruction, with random constants that are legal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dqt.arith.affine import add_constants, multiply_constants
from dqt.arith.plan import Space
from dqt.program.layered import layer_bound
from dqt.program.ops.add import Add
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.choose import Choose
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.concat import Concat
from dqt.program.ops.constant import Constant
from dqt.program.ops.conv import Conv
from dqt.program.ops.gather import Gather
from dqt.program.ops.linear import Linear
from dqt.program.ops.max import Max
from dqt.program.ops.max_pool import MaxPool
from dqt.program.ops.mean import Mean
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.pad import Pad
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.reshape import Reshape, reshaped
from dqt.program.ops.resize import Resize
from dqt.program.ops.slice import END, Slice
from dqt.program.ops.table import Table
from dqt.program.ops.top_k import TopK
from dqt.program.ops.transpose import Transpose
from dqt.program.program import Program
from dqt.program.values import OUTPUT
from dqt.testing.base import Base
from dqt.testing.draw import Integers, Shape, interval


class Builder(Base):
    """Appends legal instructions with random constants; every method returns the name of the value it defines.

    ``v0`` is the quantized first input. Codes have ``master`` bits; layers run at any of ``widths``. All random numbers
    come from one generator seeded with ``seed``, so the same calls make the same program.

    Args:
        seed: of the random generator.
        shape: of one sample of the first input, without the batch.
        master: bits n of a code, 1 to 8.
        widths: the widths that the program's layers may run at, ``master`` among them.
        signed: whether the first input's zero point is 2^(n-1) rather than 0.
        varied: whether some layers narrow weights by the nearest rule, or read a part of the master's range.
        name: of the first input.   dims: the names of its dimensions, see :class:`dqt.program.values.Input`.
        axis: of numbers of its own for each entry of this dimension, in the quantization of the first input.

    Example:
        >>> b = Builder(seed=0, shape=(3, 8, 8))
        >>> x = b.conv("v0", 16)
        >>> x = b.linear(b.flatten(b.avg_pool(x)), 10, integers=True)
        >>> program = b.build(x)
    """

    def conv(
        self, x: str, count: int, kernel: Shape = (3, 3), *, stride: Shape = (1, 1), padding: Shape = (1, 1, 1, 1),
        dilation: Shape = (1, 1), groups: int = 1, integers: Integers = False,
    ) -> str:  # fmt: skip
        """A convolution with ``count`` output channels; ``padding`` is top, bottom, left, right."""
        c, h, w = self.values[x].shape
        weight = self.weight((count, c // groups, *kernel))
        rows = (h + padding[0] + padding[1] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
        columns = (w + padding[2] + padding[3] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
        zero = 0 if integers else self.either()
        reach = layer_bound(weight, self.n, self.n, self.values[x].zero).magnitude
        constants = self.rows(reach, count, zero, integers=integers, single=bool(self.rng.integers(2)))
        out = self.value((count, rows, columns), zero=zero, integers=integers)
        geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        geometry |= self.clamp(integers) | self.narrowing()
        return self.layer(Conv(self.name(), x, out, weight, **constants, **geometry))

    def linear(self, x: str, count: int, *, integers: Integers = False, single: bool = False) -> str:
        """A linear layer over the last axis; ``single``: one row of multipliers for all widths."""
        shape = self.values[x].shape
        weight = self.weight((count, shape[-1]))
        zero = 0 if integers else self.either()
        reach = layer_bound(weight, self.n, self.n, self.values[x].zero).magnitude
        constants = self.rows(reach, count, zero, integers=integers, single=single)
        out = self.value((*shape[:-1], count), zero=zero, integers=integers)
        constants |= self.clamp(integers) | self.narrowing()
        return self.layer(Linear(self.name(), x, out, weight, **constants))

    def binary(self, kind: type[Add | Multiply], a: str, b: str, *, integers: Integers = False) -> str:
        """The sum, the difference or the product of two values, broadcast."""
        va, vb = self.values[a], self.values[b]
        out = self.value(np.broadcast_shapes(va.shape, vb.shape), zero=self.either(), integers=integers)
        vo = self.values[out]
        if kind is Multiply:
            vo = replace(vo, scale=va.scale * va.reach * vb.scale * vb.reach / vo.reach / 4)
        self.values[out] = vo
        constants = add_constants if kind is Add else multiply_constants
        sign = int(self.rng.choice([1, 1, -1])) if kind is Add else 1  # a difference is a sum of one negative scale
        k = constants(va.scale, va.zero, sign * vb.scale, vb.zero, vo.scale, vo.zero)
        self.ops.append(kind(a, b, out, **vars(k), **self.clamp(integers)))
        return out

    def rescale(self, x: str, *, integers: Integers = False, like: str | None = None) -> str:
        """Another scale, of all channels or channel by channel; ``like``: that of another value, also its interval."""
        value = self.values[x]
        count, zero = int(self.rng.choice([1, value.shape[0]])), self.either()
        if like is not None:
            have = self.values[like]
            zero, integers = have.zero, (not have.coded) and (have.lo, have.hi)
        k = self.rows(value.reach, count, 0 if integers else zero, integers=integers, single=True)
        out = self.new(replace(self.values[like], shape=value.shape)) if like else ""
        out = out or self.value(value.shape, zero=zero, integers=integers)
        self.ops.append(Rescale(x, out, k["m"][0], k["c"][0], k["shift"], **self.clamp(integers)))
        return out

    def concat(self, xs: list[str], axis: int = 0) -> str:
        """Several values along ``axis``; they share the first one's scale."""
        shape = list(self.values[xs[0]].shape)
        shape[axis] = sum(self.values[x].shape[axis] for x in xs)
        out = self.value(tuple(shape), like=xs[0])
        self.ops.append(Concat(tuple(xs), out, axis))
        return out

    def max_pool(
        self, x: str, kernel: Shape, stride: Shape, padding: Shape = (0, 0, 0, 0), dilation: Shape = (1, 1)
    ) -> str:
        """The maximum of each window; ``padding`` is top, bottom, left, right."""
        c, h, w = self.values[x].shape
        rows = (h + padding[0] + padding[1] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
        columns = (w + padding[2] + padding[3] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
        out = self.value((c, rows, columns), like=x)
        self.ops.append(MaxPool(x, out, kernel, stride, padding, dilation))  # type: ignore[arg-type]
        return out

    def avg_pool(self, x: str, counts: Shape = (1, 1), *, integers: Integers = False) -> str:
        """Adaptive windows, or one divisor for all."""
        c, *sides = self.values[x].shape
        edges = [[(i * d // k, -(-(i + 1) * d // k)) for i in range(k)] for d, k in zip(sides, counts, strict=True)]
        rows, columns = (np.array(ranges, dtype=np.int32) for ranges in edges)
        count = 1 if self.rng.integers(2) else counts[0] * counts[1]
        zero = 0 if integers else self.either()
        reach = self.values[x].reach * int(np.ptp(rows[0]) * np.ptp(columns[0]))
        k = self.rows(reach, count, zero, integers=integers, single=True)
        shape = (1, 1) if count == 1 else counts
        out = self.value((c, *counts), zero=zero, integers=integers)
        m, offset = k["m"].reshape(shape), k["c"].reshape(shape)
        self.ops.append(AvgPool(x, out, rows, columns, m, offset, k["shift"], **self.clamp(integers)))
        return out

    def mean(self, x: str, axes: Shape, *, integers: Integers = False) -> str:
        """The mean or the sum along some axes, which stay, 1 long."""
        shape, zero, divides = self.values[x].shape, 0 if integers else self.either(), bool(self.rng.integers(2))
        area = int(np.prod([shape[axis] for axis in axes]))
        k = self.rows(self.values[x].reach * area, 1, zero, integers=integers, single=True)
        m = int(k["m"][0, 0])
        m = m * area - int(np.sign(m)) * int(self.rng.integers(area // 2 + 1)) if divides else m
        out = self.value(tuple(1 if i in axes else d for i, d in enumerate(shape)), zero=zero, integers=integers)
        constants = (m, int(k["c"][0, 0]), k["shift"])
        self.ops.append(Mean(x, out, axes, divides, *constants, **self.clamp(integers)))
        return out

    def resize(self, x: str, size: tuple[int, int], steps: tuple[int, int, int, int], *, corners: bool) -> str:
        """An image in another size, by linear interpolation; see ``Resize``."""
        c, *sides = self.values[x].shape
        found = (size[i] or sides[i] * steps[2 * i + 1] // steps[2 * i] for i in (0, 1))
        out = self.value((c, *found), like=x)
        self.ops.append(Resize(x, out, size, steps, corners))
        return out

    def table(self, x: str, *, by_channel: bool = False) -> str:
        """A random table from codes to codes, or one for each channel."""
        shape, entries = self.values[x].shape, self.top + 1
        out = self.value(shape, zero=self.either())
        rows = (shape[0], entries) if by_channel else (entries,)
        self.ops.append(Table(x, out, self.rng.integers(0, entries, rows).astype(np.uint8)))
        return out

    def constant(self, shape: Shape, *, integers: Integers = False, dims: tuple[str, ...] = ()) -> str:
        """Random codes or integers, the same for every sample; ``dims``: as many entries as a dimension may have."""
        out, most = self.value(shape, zero=self.either(), integers=integers), {dim.name: dim.most for dim in self.dims}
        whole = tuple(most.get(name, d) for name, d in zip(dims or ("",) * len(shape), shape, strict=True))
        lo, hi = interval(integers, self.top)
        self.ops.append(Constant(out, self.rng.integers(lo, hi + 1, whole).astype(np.int32), dims))
        return out

    def reshape(self, x: str, shape: Shape) -> str:
        """The same integers in another shape; 0 and -1 as :class:`Reshape` says."""
        out = self.value(reshaped(self.values[x].shape, shape), like=x)
        self.ops.append(Reshape(x, out, shape))
        return out

    def flatten(self, x: str) -> str:
        """The same integers as a vector."""
        return self.reshape(x, (int(np.prod(self.values[x].shape)),))

    def slice(self, x: str, starts: Shape, stops: Shape, steps: Shape) -> str:
        """A part of a value: ``start:stop:step`` along each axis, as :class:`Slice` says."""
        cuts = [slice(a, None if b == END else b, k) for a, b, k in zip(starts, stops, steps, strict=True)]
        shape = (len(range(*cut.indices(d))) for cut, d in zip(cuts, self.values[x].shape, strict=True))
        out = self.value(tuple(shape), like=x)
        self.ops.append(Slice(x, out, starts, stops, steps))
        return out

    def transpose(self, x: str, axes: Shape) -> str:
        """The same codes with dimensions in another order."""
        out = self.value(tuple(self.values[x].shape[axis] for axis in axes), like=x)
        self.ops.append(Transpose(x, out, axes))
        return out

    def gather(self, x: str, axis: int, indices: Sequence[int]) -> str:
        """Elements along an axis, picked by index."""
        shape = list(self.values[x].shape)
        shape[axis] = len(indices)
        out = self.value(tuple(shape), like=x)
        self.ops.append(Gather(x, out, axis, np.array(indices, dtype=np.int32)))
        return out

    def max(self, x: str, axes: Shape) -> str:
        """The largest along some axes, which stay, 1 long."""
        out = self.value(tuple(1 if i in axes else d for i, d in enumerate(self.values[x].shape)), like=x)
        self.ops.append(Max(x, out, axes))
        return out

    def top_k(self, x: str, count: int) -> str:
        """The largest along the last axis, the largest first."""
        out = self.value((*self.values[x].shape[:-1], count), like=x)
        self.ops.append(TopK(x, out, count))
        return out

    def pad(self, x: str, before: Shape, after: Shape) -> str:
        """A value with zeros before and after it along each axis."""
        shape = tuple(a + d + b for a, d, b in zip(before, self.values[x].shape, after, strict=True))
        out = self.value(shape, like=x)
        self.ops.append(Pad(x, out, before, after))
        return out

    def control(self, x: str, governed: int, choices: Shape) -> None:
        """A controller that reads ``x``, an image or a vector, and decides for ``governed`` layers to come."""
        self.own = True
        features = self.flatten(self.avg_pool(x)) if len(self.values[x].shape) == 3 else x
        logits = self.linear(self.linear(features, 6), governed * len(choices), integers=True, single=True)
        self.own = False
        layers = tuple(f"block.{len(self.layers) + i}" for i in range(governed))
        self.ops.append(Choose(logits, layers, choices))

    def control_late(self, x: str, governed: int, choices: Shape, first: int, *, again: bool) -> None:
        """A controller that reads the codes ``x``, a vector, and decides for so many layers to come.

        ``again``: for those that have run, but for the first and the last.
        """
        self.own = True
        logits = self.linear(self.linear(x, 6), len(choices), integers=True, single=True)
        self.own = False
        start = 1 if again else len(self.layers)
        layers = tuple(f"block.{start + i}" for i in range(governed))
        self.ops.append(ChooseLate(logits, layers, choices, first, again))

    def build(self, x: str | None = None, *, choices: Shape = (), **info: Any) -> Program:
        """The program, with the output ``x`` if it has no other; its first and last layer are edge layers."""
        if x is not None:
            self.output(x, OUTPUT)
        ends = {self.layers[0].name, self.layers[-1].name} if self.layers else set()
        layers = tuple(replace(layer, edge=layer.name in ends) for layer in self.layers)
        space = Space(self.n, self.widths, self.n, layers, tuple(self.controller), choices)
        borders = (tuple(self.inputs), info, tuple(self.states), tuple(self.dims))
        return Program(space, tuple(self.values.values()), tuple(self.ops), *borders)
