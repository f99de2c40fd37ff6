"""What a program in the making holds, and the random numbers of its instructions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.fixed import SHIFT
from dqt.arith.plan import Layer
from dqt.arith.ratio import code_constants
from dqt.program.operator import Operator
from dqt.program.ops.conv import Conv
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.linear import Linear
from dqt.program.ops.quantize import Quantize, plain_gain
from dqt.program.ops.read import Read
from dqt.program.ops.recall import Recall
from dqt.program.ops.store import Store
from dqt.program.values import INPUT, INTEGER, Dimension, Input, State, Value
from dqt.testing.draw import Integers, Shape, interval, narrowing, with_unlike_rows


class Base:
    """Values, instructions, layers and borders so far; all random numbers come from one generator.

    Arguments as of :class:`dqt.testing.Builder`.
    """

    def __init__(
        self,
        seed: int,
        shape: Shape = (3, 7, 5),
        *,
        master: int = 8,
        widths: Shape = (2, 3, 4, 8),
        signed: bool = False,
        varied: bool = False,
        name: str = INPUT,
        dims: tuple[str, ...] = (),
        axis: int | None = None,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.n, self.widths, self.varied = master, widths, varied
        self.values: dict[str, Value] = {}
        self.ops: list[Operator] = []
        self.inputs: list[Input] = []
        self.states: list[State] = []
        self.dims: list[Dimension] = []
        self.layers: list[Layer] = []
        self.controller: list[Layer] = []
        self.own = False
        self.top = (1 << master) - 1
        self.input(name, shape, zero=self.zero(signed), dims=dims, axis=axis)

    def input(
        self, name: str, shape: Shape, *, zero: int | None = None, dims: tuple[str, ...] = (), axis: int | None = None
    ) -> str:
        """A float input and its codes; ``axis``: each entry of this dimension has a gain and a bias of its own."""
        self.inputs.append(Input(name, shape, dims=dims))
        out = self.value(shape, zero=self.either() if zero is None else zero)
        gain, bias = plain_gain(self.values[out].scale)
        if axis is not None:
            factors = self.rng.uniform(0.5, 2.0, shape[axis]) * self.rng.choice([1, 1, -1], shape[axis])
            gain, bias = (gain * factors).astype(np.float32), self.rng.normal(0, 9, shape[axis]).astype(np.float32)
        self.ops.append(Quantize(name, out, gain, bias, axis or 0))
        return out

    def tokens(self, name: str, shape: Shape, lo: int, hi: int, *, dims: tuple[str, ...] = ()) -> str:
        """An integer input in ``[lo, hi]``, and its integers."""
        self.inputs.append(Input(name, shape, INTEGER, lo, hi, dims))
        out = self.new(Value("", shape, 1.0, 0, lo, hi))
        self.ops.append(Read(name, out))
        return out

    def dimension(self, name: str, least: int, most: int) -> str:
        """A named dimension; its name."""
        self.dims.append(Dimension(name, least, most))
        return name

    def state(self, name: str, shape: Shape, *, integers: Integers = False, dims: tuple[str, ...] = ()) -> str:
        """A state, and what an earlier run left in it; :meth:`store` is to follow."""
        out = self.value(shape, zero=self.either(), integers=integers)
        v = self.values[out]
        self.states.append(State(name, v.shape, v.scale, v.zero, v.lo, v.hi, dims))
        self.ops.append(Recall(name, out))
        return out

    def store(self, x: str, state: str) -> None:
        """What the next run finds in a state: a value with the scale, zero point and interval of the state."""
        self.ops.append(Store(x, state))

    def output(self, x: str, name: str) -> None:
        """An output of the program."""
        self.ops.append(Dequantize(x, name))

    def zero(self, signed: bool) -> int:
        """The zero point of a signed or of an unsigned range: 2^(n-1) or 0."""
        return 1 << (self.n - 1) if signed else 0

    def new(self, value: Value) -> str:
        """Declare a value under the next name."""
        name = f"v{len(self.values)}"
        self.values[name] = replace(value, name=name)
        return name

    def value(self, shape: Shape, *, zero: int = 0, integers: Integers = False, like: str | None = None) -> str:
        """A new value with a random scale; ``like``: with the scale, zero point and interval of another value."""
        shape = tuple(int(d) for d in shape)
        scale = float(self.rng.uniform(0.005, 0.05))
        if like is not None:
            return self.new(replace(self.values[like], shape=shape))
        lo, hi = interval(integers, self.top)
        if integers is not False:  # reals of about the same magnitude as those of codes
            zero, scale = 0, scale * self.top * 8 / max(-lo, hi, 1)
        return self.new(Value("", shape, scale, zero, lo, hi))

    def either(self) -> int:
        """A zero point on the grid of the lowest width, at random."""
        return int(self.rng.integers(1 << self.widths[0])) << (self.n - self.widths[0])

    def clamp(self, integers: Integers = False) -> dict[str, Any]:
        """Random bounds ``lo`` and ``hi`` of an output of codes; of integers the whole interval."""
        if integers is not False:
            lo, hi = interval(integers, self.top)
            return {"lo": lo, "hi": hi}
        lo = int(self.rng.choice([0, 0, 3 % (self.top + 1)]))
        return {"lo": lo, "hi": max(lo, int(self.rng.choice([self.top, self.top, self.top - 1])))}

    def rows(self, reach: int, count: int, zero: int, *, integers: Integers, single: bool) -> dict[str, Any]:
        """Multipliers that spread accumulators of magnitude ``reach`` over the output's range, and their offsets."""
        shift = int(self.rng.integers(20, 33))
        lo, hi = interval(integers, self.top)
        scale = (self.top if integers is False else max(-lo, hi) / 8) / max(1, reach)
        rows = 1 if single else len(self.widths)
        factors = self.rng.uniform(0.5, 4.0, (rows, count)) * self.rng.choice([1, 1, 1, -1], (rows, count))
        m = np.rint(factors * scale * 2.0**shift).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
        bias = self.rng.integers(-(self.top // 4) - 1, self.top // 4 + 2, (rows, count))
        c = (bias.astype(np.int64) << shift) + (1 << (shift - 1)) + (zero << shift)
        if integers is False and shift % 2 == 0:
            shift = SHIFT
            m, c = code_constants(np.clip(factors * scale, -0.49, 0.49), bias, shift, zero, 0, self.top)
        if self.varied and not single and shift % 2:
            m, c = (with_unlike_rows(each) for each in (m, c))
        return {"m": m, "c": c, "shift": shift}

    def weight(self, shape: Shape) -> npt.NDArray[np.int8]:
        """Random weight codes in [-2^(n-1), 2^(n-1) - 1]."""
        low, high = -(1 << (self.n - 1)), (1 << (self.n - 1)) - 1
        return self.rng.integers(low, high + 1, shape).astype(np.int8)

    def narrowing(self) -> dict[str, Any]:
        """How the next layer reads narrower widths."""
        return narrowing(self.rng, self.n, self.widths) if self.varied else {}

    def layer(self, op: Conv | Linear) -> str:
        """Append a layer and describe it for the width plans (or for the controller, while that is built)."""
        (self.controller if self.own else self.layers).append(op.counts(self.values))
        self.ops.append(op)
        return op.out

    def name(self) -> str:
        """The next layer's name."""
        return f"policy.{len(self.controller)}" if self.own else f"block.{len(self.layers)}"
