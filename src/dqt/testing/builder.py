"""Integer programs written by hand, instruction by instruction, with random constants that are legal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.affine import add_constants, multiply_constants
from dqt.arith.plan import Layer, Space
from dqt.program.layered import layer_bound
from dqt.program.operator import Operator
from dqt.program.ops.add import Add
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.choose import Choose
from dqt.program.ops.concat import Concat
from dqt.program.ops.constant import Constant
from dqt.program.ops.conv import Conv
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.gather import Gather
from dqt.program.ops.linear import Linear
from dqt.program.ops.max import Max
from dqt.program.ops.max_pool import MaxPool
from dqt.program.ops.mean import Mean
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.pad import Pad
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.resize import Resize
from dqt.program.ops.slice import Slice
from dqt.program.ops.table import Table
from dqt.program.ops.transpose import Transpose
from dqt.program.program import Program
from dqt.program.values import INPUT, Value

Shape = tuple[int, ...]


class Builder:
    """Appends legal instructions with random constants; every method returns the name of the value it defines.

    ``v0`` is the quantized input. Codes have ``master`` bits; layers run at any of ``widths``. All random numbers
    come from one generator seeded with ``seed``, so the same calls make the same program.

    Args:
        seed: of the random generator.
        shape: of one input sample, without the batch.
        master: bits n of a code, 1 to 8.
        widths: the widths that the program's layers may run at, ``master`` among them.
        signed: whether the input's zero point is 2^(n-1) rather than 0.

    Example:
        >>> b = Builder(seed=0, shape=(3, 8, 8))
        >>> x = b.conv("v0", 16)
        >>> x = b.linear(b.flatten(b.avg_pool(x)), 10, wide=True)
        >>> program = b.build(x)
    """

    def __init__(
        self,
        seed: int,
        shape: Shape = (3, 7, 5),
        *,
        master: int = 8,
        widths: Shape = (2, 3, 4, 8),
        signed: bool = False,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.n, self.widths, self.shape = master, widths, shape
        self.values: dict[str, Value] = {}
        self.ops: list[Operator] = []
        self.layers: list[Layer] = []
        self.controller: list[Layer] = []
        self.own = False
        self.top = (1 << master) - 1
        self.ops.append(Quantize(INPUT, self.value(shape, zero=self.zero(signed))))

    def zero(self, signed: bool) -> int:
        """The zero point of a signed or of an unsigned range: 2^(n-1) or 0."""
        return 1 << (self.n - 1) if signed else 0

    def value(self, shape: Shape, *, zero: int = 0, wide: bool = False, like: str | None = None) -> str:
        """A new value with a random scale; ``like``: with the scale and the zero point of another value."""
        name = f"v{len(self.values)}"
        step = float(self.rng.uniform(0.005, 0.05))
        if like is not None:
            step, zero, wide = self.values[like].step, self.values[like].zero, self.values[like].wide
        self.values[name] = Value(name, tuple(int(d) for d in shape), step, zero, wide)
        return name

    def either(self) -> int:
        """One of the two zero points, at random."""
        return self.zero(bool(self.rng.integers(2)))

    def clamp(self, *, wide: bool = False) -> dict[str, Any]:
        """Random bounds ``lo`` and ``hi`` of an output: of codes, or (``wide``) of int32 numbers."""
        if wide:
            return {"lo": -(2**23 - 1), "hi": 2**23 - 1}
        lo = int(self.rng.choice([0, 0, 3 % (self.top + 1)]))
        return {"lo": lo, "hi": max(lo, int(self.rng.choice([self.top, self.top, self.top - 1])))}

    def rows(self, reach: int, count: int, zero: int, *, wide: bool, single: bool) -> dict[str, Any]:
        """Multipliers that spread accumulators of magnitude ``reach`` over the output's range, and their offsets."""
        shift = int(self.rng.integers(20, 33))
        scale = (2**20 if wide else self.top) / max(1, reach)
        rows = 1 if single else len(self.widths)
        factors = self.rng.uniform(0.5, 4.0, (rows, count)) * self.rng.choice([1, 1, 1, -1], (rows, count))
        m = np.rint(factors * scale * 2.0**shift).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
        bias = self.rng.integers(-(self.top // 4) - 1, self.top // 4 + 2, (rows, count))
        c = (bias.astype(np.int64) << shift) + (1 << (shift - 1)) + (zero << shift)
        return {"m": m, "c": c, "shift": shift}

    def weight(self, shape: Shape) -> npt.NDArray[np.int8]:
        """Random weight codes in [-2^(n-1), 2^(n-1) - 1]."""
        low, high = -(1 << (self.n - 1)), (1 << (self.n - 1)) - 1
        return self.rng.integers(low, high + 1, shape).astype(np.int8)

    def layer(self, op: Conv | Linear) -> str:
        """Append a layer and describe it for the width plans (or for the controller, while that is built)."""
        (self.controller if self.own else self.layers).append(op.counts(self.values))
        self.ops.append(op)
        return op.out

    def name(self) -> str:
        """The next layer's name."""
        return f"policy.{len(self.controller)}" if self.own else f"block.{len(self.layers)}"

    def conv(
        self, x: str, count: int, kernel: Shape = (3, 3), *, stride: Shape = (1, 1), padding: Shape = (1, 1, 1, 1),
        dilation: Shape = (1, 1), groups: int = 1, wide: bool = False,
    ) -> str:  # fmt: skip
        """A convolution with ``count`` output channels; ``padding`` is top, bottom, left, right."""
        c, h, w = self.values[x].shape
        weight = self.weight((count, c // groups, *kernel))
        rows = (h + padding[0] + padding[1] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
        columns = (w + padding[2] + padding[3] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
        zero = 0 if wide else self.either()
        reach = layer_bound(weight, self.n, self.n, self.values[x].zero).magnitude
        constants = self.rows(reach, count, zero, wide=wide, single=bool(self.rng.integers(2)))
        out = self.value((count, rows, columns), zero=zero, wide=wide)
        geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return self.layer(Conv(self.name(), x, out, weight, **constants, **self.clamp(wide=wide), **geometry))

    def linear(self, x: str, count: int, *, wide: bool = False, single: bool = False) -> str:
        """A linear layer over the last axis; ``single``: one row of multipliers for all widths."""
        shape = self.values[x].shape
        weight = self.weight((count, shape[-1]))
        zero = 0 if wide else self.either()
        reach = layer_bound(weight, self.n, self.n, self.values[x].zero).magnitude
        constants = self.rows(reach, count, zero, wide=wide, single=single)
        out = self.value((*shape[:-1], count), zero=zero, wide=wide)
        return self.layer(Linear(self.name(), x, out, weight, **constants, **self.clamp(wide=wide)))

    def binary(self, kind: type[Add | Multiply], a: str, b: str) -> str:
        """The sum, the difference or the product of two values, broadcast."""
        va, vb = self.values[a], self.values[b]
        out = self.value(np.broadcast_shapes(va.shape, vb.shape), zero=self.either())
        step = self.values[out].step if kind is Add else va.step * vb.step * self.top / 4
        self.values[out] = vo = replace(self.values[out], step=step)
        constants = add_constants if kind is Add else multiply_constants
        sign = int(self.rng.choice([1, 1, -1])) if kind is Add else 1  # a difference is a sum of one negative scale
        k = constants(va.step, va.zero, sign * vb.step, vb.zero, vo.step, vo.zero)
        self.ops.append(kind(a, b, out, **vars(k), **self.clamp()))
        return out

    def rescale(self, x: str) -> str:
        """Another scale, of all channels or channel by channel, and one of the two zero points."""
        value = self.values[x]
        count = int(self.rng.choice([1, value.shape[0]]))
        zero = self.either()
        k = self.rows(self.top, count, zero, wide=False, single=True)
        out = self.value(value.shape, zero=zero)
        self.ops.append(Rescale(x, out, k["m"][0], k["c"][0], k["shift"], **self.clamp()))
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

    def avg_pool(self, x: str, counts: Shape = (1, 1)) -> str:
        """Adaptive windows, or one divisor for all."""
        c, *sides = self.values[x].shape
        edges = [[(i * d // k, -(-(i + 1) * d // k)) for i in range(k)] for d, k in zip(sides, counts, strict=True)]
        rows, columns = (np.array(ranges, dtype=np.int32) for ranges in edges)
        count = 1 if self.rng.integers(2) else counts[0] * counts[1]
        zero = self.either()
        k = self.rows(self.top * int(np.ptp(rows[0]) * np.ptp(columns[0])), count, zero, wide=False, single=True)
        shape = (1, 1) if count == 1 else counts
        out = self.value((c, *counts), zero=zero)
        m, offset = k["m"].reshape(shape), k["c"].reshape(shape)
        self.ops.append(AvgPool(x, out, rows, columns, m, offset, k["shift"], **self.clamp()))
        return out

    def mean(self, x: str, axes: Shape) -> str:
        """The mean or the sum along some axes, which stay, 1 long."""
        shape, zero, divides = self.values[x].shape, self.either(), bool(self.rng.integers(2))
        area = int(np.prod([shape[axis] for axis in axes]))
        k = self.rows(self.top * area, 1, zero, wide=False, single=True)
        m = int(k["m"][0, 0])
        m = m * area - int(np.sign(m)) * int(self.rng.integers(area // 2 + 1)) if divides else m
        out = self.value(tuple(1 if i in axes else d for i, d in enumerate(shape)), zero=zero)
        self.ops.append(Mean(x, out, axes, divides, m, int(k["c"][0, 0]), k["shift"], **self.clamp()))
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

    def constant(self, shape: Shape) -> str:
        """Random codes of a shape, the same for every sample."""
        out = self.value(shape, zero=self.either())
        self.ops.append(Constant(out, self.rng.integers(0, self.top + 1, shape).astype(np.uint8)))
        return out

    def reshape(self, x: str, shape: Shape) -> str:
        """The same codes in another shape."""
        out = self.value(shape, like=x)
        self.ops.append(Reshape(x, out))
        return out

    def flatten(self, x: str) -> str:
        """The same codes as a vector."""
        return self.reshape(x, (int(np.prod(self.values[x].shape)),))

    def slice(self, x: str, starts: Shape, stops: Shape, steps: Shape) -> str:
        """A part of a value: ``start:stop:step`` along each axis."""
        shape = tuple(-(-(b - a) // k) for a, b, k in zip(starts, stops, steps, strict=True))
        out = self.value(shape, like=x)
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

    def pad(self, x: str, before: Shape, after: Shape) -> str:
        """A value with zeros before and after it along each axis."""
        shape = tuple(a + d + b for a, d, b in zip(before, self.values[x].shape, after, strict=True))
        out = self.value(shape, like=x)
        self.ops.append(Pad(x, out, before, after))
        return out

    def control(self, x: str, governed: int, choices: Shape) -> None:
        """A controller that reads ``x`` and decides for ``governed`` layers to come."""
        self.own = True
        hidden = self.linear(self.flatten(self.avg_pool(x)), 6)
        logits = self.linear(hidden, governed * len(choices), wide=True, single=True)
        self.own = False
        layers = tuple(f"block.{len(self.layers) + i}" for i in range(governed))
        self.ops.append(Choose(logits, layers, choices))

    def build(self, x: str, *, choices: Shape = (), **info: Any) -> Program:
        """The program with output ``x``. Its first and last layer are edge layers, as ``prepare`` marks them."""
        self.ops.append(Dequantize(x))
        ends = {self.layers[0].name, self.layers[-1].name} if self.layers else set()
        layers = tuple(replace(layer, edge=layer.name in ends) for layer in self.layers)
        space = Space(self.n, self.widths, self.n, layers, tuple(self.controller), choices)
        return Program(space, tuple(self.values.values()), tuple(self.ops), self.shape, info)
