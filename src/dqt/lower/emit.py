"""``dqt.lower``: the graph that trained, as a program. Its constants come from :mod:`dqt.nn.integers`."""

# ruff: noqa: ARG005 - a table's functions have one signature

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from dqt.arith.bounds import WIDE_LIMIT
from dqt.nn.errors import CalibrationError
from dqt.nn.graph import INPUT, Step
from dqt.nn.integers import Codes, RescaleIntegers
from dqt.nn.net import Net
from dqt.program.operator import Operator
from dqt.program.ops.add import Add
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.choose import Choose
from dqt.program.ops.concat import Concat
from dqt.program.ops.conv import Conv
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.linear import Linear
from dqt.program.ops.max_pool import MaxPool
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.pad import Pad
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.slice import Slice
from dqt.program.ops.table import Table
from dqt.program.program import Program
from dqt.program.values import Value

Emitter = Callable[["Emission", Step, Any], None]


def lower(net: Net, *, info: Mapping[str, Any] | None = None) -> Program:
    """Freeze a prepared network into the integer program that is served.

    ``dqt.interpret(lower(net), x, plan)`` equals ``net(x, plan, exact=True)`` to the bit.

    Args:
        net: calibrated or trained.
        info: what to keep beside the numbers: ``mean``, ``std``, ``classes``, ``data`` (see :class:`Program`).

    Raises:
        CalibrationError: the ranges come from the example input alone.
        ProgramError: a layer cannot be proved free of overflow; names it and the bound.
    """
    if not net.calibrated:
        raise CalibrationError(
            "the ranges come from the example input alone: run dqt.calibrate(net, batches) or dqt.fit first"
        )
    emission = Emission(net)
    constants = deepcopy(net.constants())  # a program freezes its arrays; the network goes on using its own
    for step in net.steps:
        EMIT[step.kind](emission, step, constants[step.out])
    return emission.finish(info or {})


class Emission:
    """A program in the making: its values and instructions so far."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.values: dict[str, Value] = {}
        self.ops: list[Operator] = []
        codes = self.define(self.fresh("input.codes"), net.input_shape, net.codes(INPUT))
        self.names = {INPUT: codes}
        self.ops.append(Quantize(INPUT, codes))

    def fresh(self, name: str) -> str:
        """A name for a value that the network does not have, unlike every name that it has."""
        while name in self.net.shapes or name in self.values:
            name += "_"
        return name

    def define(self, name: str, shape: tuple[int, ...], codes: Codes) -> str:
        """Declare a value; ``codes`` says how its integers stand for reals."""
        wide = codes.hi == WIDE_LIMIT
        self.values[name] = Value(name, shape, codes.step, codes.zero, wide)
        return name

    def source(self, step: Step, index: int = 0) -> str:
        """The program's name of an operand."""
        return self.names[step.ins[index]]

    def result(self, step: Step, codes: Codes | None = None) -> str:
        """Declare the result of a step."""
        self.names[step.out] = step.out
        return self.define(step.out, step.shape, codes or self.net.codes(step.out))

    def moved(self, name: str, shape: tuple[int, ...], out: str) -> str:
        """Declare a value whose integers are those of another: codes or int32 outputs, as they were."""
        self.values[out] = replace(self.values[name], name=out, shape=shape)
        return out

    def reshaped(self, name: str, shape: tuple[int, ...], out: str) -> str:
        """Append a reshape of a value."""
        self.ops.append(Reshape(name, self.moved(name, shape, out)))
        return out

    def raised(self, step: Step) -> tuple[str, Callable[[str], None]]:
        """A 1-d operator as a 2-d one of height 1: its operand with that height, and what takes the height away."""
        channels, length = self.net.shapes[step.ins[0]]
        high = self.reshaped(self.source(step), (channels, 1, length), self.fresh(f"{step.out}.2d"))
        return high, self._flattened(step)

    def _flattened(self, step: Step) -> Callable[[str], None]:
        def finish(name: str) -> None:
            self.names[step.out] = self.reshaped(name, step.shape, step.out)

        return finish

    def finish(self, info: Mapping[str, Any]) -> Program:
        """The verified program."""
        self.ops.append(Dequantize(self.names[self.net.steps[-1].out]))
        return Program(self.net.space, tuple(self.values.values()), tuple(self.ops), self.net.input_shape, dict(info))


def _spatial(e: Emission, step: Step, codes: Codes) -> tuple[str, str, Callable[[str], None]]:
    """Operand and result of an operator over space: as they are in 2-d, with a height of 1 in 1-d."""
    if len(step.shape) == 3:
        return e.source(step), e.result(step, codes), lambda name: None
    x, finish = e.raised(step)
    return x, e.define(e.fresh(f"{step.out}.flat"), (step.shape[0], 1, step.shape[1]), codes), finish


def _two(values: tuple[int, ...], first: int) -> tuple[int, int]:
    return (values[0], values[1]) if len(values) == 2 else (first, values[0])


def _conv(e: Emission, step: Step, k: Any) -> None:
    a = step.attrs
    x, out, finish = _spatial(e, step, k.out)
    weight = k.weight if k.weight.ndim == 4 else k.weight[:, :, None, :]
    padding = a["padding"] if len(a["padding"]) == 4 else (0, 0, *a["padding"])
    stride, dilation = _two(a["stride"], 1), _two(a["dilation"], 1)
    e.ops.append(
        Conv(step.layer, x, out, weight, k.m, k.c, k.shift, k.out.lo, k.out.hi, stride, padding, dilation, a["groups"])
    )
    finish(out)


def _linear(e: Emission, step: Step, k: Any) -> None:
    x, out = e.source(step), e.result(step, k.out)
    e.ops.append(Linear(step.layer, x, out, k.weight, k.m, k.c, k.shift, k.out.lo, k.out.hi))


def _affine(e: Emission, step: Step, k: RescaleIntegers) -> None:
    e.ops.append(Rescale(e.source(step), e.result(step), k.m, k.c, k.shift, k.lo, k.hi))


def _add(e: Emission, step: Step, k: Any) -> None:
    c = k.constants
    e.ops.append(Add(e.source(step), e.source(step, 1), e.result(step), c.k1, c.k2, c.k3, c.shift, k.lo, k.hi))


def _multiply(e: Emission, step: Step, k: Any) -> None:
    c = k.constants
    a, b, out = e.source(step), e.source(step, 1), e.result(step)
    e.ops.append(Multiply(a, b, out, c.k1, c.k2, c.k3, c.k4, c.shift, k.lo, k.hi))


def _concat(e: Emission, step: Step, ks: list[RescaleIntegers]) -> None:
    parts = []
    for i, (name, k) in enumerate(zip(step.ins, ks, strict=True)):
        part = e.define(e.fresh(f"{step.out}.{i}"), e.net.shapes[name], e.net.codes(step.out))
        e.ops.append(Rescale(e.names[name], part, k.m, k.c, k.shift, k.lo, k.hi))
        parts.append(part)
    e.ops.append(Concat(tuple(parts), e.result(step), step.attrs["axis"]))


def _table(e: Emission, step: Step, table: Any) -> None:
    e.ops.append(Table(e.source(step), e.result(step), table))


def _avg_pool(e: Emission, step: Step, k: Any) -> None:
    x, out, finish = _spatial(e, step, e.net.codes(step.out))
    e.ops.append(AvgPool(x, out, k.rows, k.columns, k.m, k.c, k.shift, k.lo, k.hi))
    finish(out)


def _max_pool(e: Emission, step: Step, _: Any) -> None:
    a = step.attrs
    size = e.net.shapes[step.ins[0]][1:]
    x, out, finish = _spatial(e, step, e.net.codes(step.out))
    kernel, stride, dilation = _two(a["kernel"], 1), _two(a["stride"], 1), _two(a["dilation"], 1)
    pairs = [_pool_padding(step, axis, length) for axis, length in enumerate(size)]
    (top, bottom), (left, right) = pairs if len(pairs) == 2 else [(0, 0), *pairs]
    e.ops.append(MaxPool(x, out, kernel, stride, (top, bottom, left, right), dilation))
    finish(out)


def _pool_padding(step: Step, axis: int, size: int) -> tuple[int, int]:
    """Padding before and after along one axis; with ceil_mode the last window may reach further than the padding."""
    a = step.attrs
    before = a["padding"][axis]
    reach = (step.shape[1 + axis] - 1) * a["stride"][axis] + a["dilation"][axis] * (a["kernel"][axis] - 1) + 1
    return before, max(0, reach - size - before)


def _reshape(e: Emission, step: Step, _: Any) -> None:
    e.names[step.out] = e.reshaped(e.source(step), step.shape, step.out)


def _slice(e: Emission, step: Step, _: Any) -> None:
    a, x = step.attrs, e.source(step)
    e.names[step.out] = e.moved(x, step.shape, step.out)
    e.ops.append(Slice(x, step.out, a["starts"], a["stops"], a["steps"]))


def _pad(e: Emission, step: Step, _: Any) -> None:
    e.ops.append(Pad(e.source(step), e.result(step), step.attrs["before"], step.attrs["after"]))


def _dropout(e: Emission, step: Step, _: Any) -> None:
    e.names[step.out] = e.source(step)


def _choose(e: Emission, step: Step, _: Any) -> None:
    e.ops.append(Choose(e.source(step), e.net.space.chosen, e.net.space.choices))


EMIT: dict[str, Emitter] = {
    "conv": _conv,
    "linear": _linear,
    "affine": _affine,
    "add": _add,
    "multiply": _multiply,
    "concat": _concat,
    "table": _table,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "reshape": _reshape,
    "slice": _slice,
    "pad": _pad,
    "dropout": _dropout,
    "choose": _choose,
}
