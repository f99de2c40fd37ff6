"""The verifier: legal programs pass, and each defect, made by one change, is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from dqt.arith.bounds import signed_bits
from dqt.arith.plan import Layer, Space
from dqt.program.layered import layer_bound
from dqt.program.operator import Operator, operators
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
from dqt.program.ops.quantize import Quantize, plain_gain
from dqt.program.ops.read import Read
from dqt.program.ops.recall import Recall
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.resize import Resize
from dqt.program.ops.slice import Slice
from dqt.program.ops.store import Store
from dqt.program.ops.table import Table
from dqt.program.ops.transpose import Transpose
from dqt.program.planned import accumulator_bits
from dqt.program.program import Program, ProgramError
from dqt.program.values import Input, Value
from dqt.testing import Builder, inputs, random_late, random_program, random_transformer
from tests.program.naive import Naive

Change = Callable[[Program], Mapping[str, Any]]


@cache
def sample() -> Program:
    """One instruction of every kind, with a controller, two inputs and outputs, a state and a named dimension."""
    b = Builder(20, (2, 6, 6))
    x = b.conv("v0", 4)
    b.control(x, 1, (2, 8))
    x = b.conv(x, 4, groups=2)
    x = b.binary(Multiply, b.avg_pool(x, (2, 2)), b.max_pool(x, (3, 3), (3, 3)))
    x = b.concat([b.binary(Add, x, b.rescale(x))] * 2)
    x = b.slice(b.pad(b.table(x), (0, 1, 0), (0, 0, 1)), (0, 0, 0), (8, 3, 3), (3, 1, 1))
    x = b.transpose(b.binary(Add, x, b.constant((3, 1, 3))), (1, 2, 0))
    x = b.resize(b.max(b.gather(x, 1, (2, 0, 0, 1)), (0, 2)), (0, 2), (1, 2, 0, 0), corners=False)
    x = b.mean(x, (1, 2))
    scores = b.linear(b.flatten(x), 3, integers=True)
    b.dimension("length", 2, 9)
    tokens = b.tokens("tokens", (3, 1), -5, 400, dims=("length", ""))
    past = b.state("past", (3, 1), dims=("length", ""))
    b.store(b.rescale(b.binary(Add, tokens, past), like=past), "past")
    b.output(b.binary(Add, tokens, b.constant((3, 1), integers=True, dims=("length", "")), integers=True), "tokens")
    return b.build(scores, choices=(2, 8))


def fields(**new: Any) -> Change:
    """Replace fields of the program."""
    return lambda _: new


def at(program: Program, kind: type[Any], which: int = 0) -> int:
    return [i for i, op in enumerate(program.ops) if isinstance(op, kind)][which]


def op(kind: type[Any], which: int = 0, **fields: Any) -> Change:
    """Replace fields of the ``which``-th instruction of a kind; a callable gets the old value."""

    def change(program: Program) -> Mapping[str, Any]:
        i = at(program, kind, which)
        old = program.ops[i]
        new = {name: value(getattr(old, name)) if callable(value) else value for name, value in fields.items()}
        return {"ops": (*program.ops[:i], replace(old, **new), *program.ops[i + 1 :])}

    return change


def result(kind: type[Any], which: int = 0, **fields: Any) -> Change:
    """Replace fields of the value that the ``which``-th instruction of a kind defines."""

    def change(program: Program) -> Mapping[str, Any]:
        name = program.ops[at(program, kind, which)].writes()
        new = (replace(value, **fields) if value.name == name else value for value in program.values)
        return {"values": tuple(new)}

    return change


def space(**fields: Any) -> Change:
    return lambda program: {"space": replace(program.space, **fields)}


def layers(change: Callable[[Layer], Layer]) -> Change:
    """Change the first layer of the space."""
    return lambda p: {"space": replace(p.space, layers=(change(p.space.layers[0]), *p.space.layers[1:]))}


def moved(first: int, second: int) -> Change:
    """Exchange two instructions."""

    def change(program: Program) -> Mapping[str, Any]:
        ops: list[Operator] = list(program.ops)
        ops[first], ops[second] = ops[second], ops[first]
        return {"ops": tuple(ops)}

    return change


def table_of_a_number(_: Program) -> Mapping[str, Any]:
    """A table that reads one number for each sample."""
    b = Builder(3, (2,))
    x = b.reshape(b.linear("v0", 1), ())
    values = (*b.values.values(), replace(b.values[x], name="v3"))
    ops = (*b.ops, Table(x, "v3", np.zeros(256, dtype=np.uint8)), Dequantize("v3", "output"))
    space = Space(8, b.widths, 8, tuple(b.layers))
    return {"space": space, "values": values, "ops": ops, "inputs": tuple(b.inputs), "states": (), "dims": ()}


def resize_of_a_row(_: Program) -> Mapping[str, Any]:
    """A resize that reads no image."""
    b = Builder(3, (2, 3))
    b.linear("v0", 2)
    values = (*b.values.values(), replace(b.values["v0"], name="v2"))
    ops = (*b.ops, Resize("v0", "v2", (4, 4), (0,) * 4, corners=False), Dequantize("v2", "output"))
    space = Space(8, b.widths, 8, tuple(b.layers))
    return {"space": space, "values": values, "ops": ops, "inputs": tuple(b.inputs), "states": (), "dims": ()}


def small_codes(_: Program) -> Mapping[str, Any]:
    """A value of 4 bits that holds 16."""
    b = Builder(3, (2,), master=4, widths=(2, 4))
    space, values = Space(4, b.widths, 4, ()), (replace(b.values["v0"], hi=16),)
    ops = (*b.ops, Dequantize("v0", "output"))
    return {"space": space, "values": values, "ops": ops, "inputs": tuple(b.inputs), "states": (), "dims": ()}


def put(index: Any, value: float) -> Callable[[Any], Any]:
    """A copy of an array with one entry changed."""

    def change(array: Any) -> Any:
        copy = array.copy()
        copy[index] = value
        return copy

    return change


def changed(name: str, which: int = 0, **fields: Any) -> Change:
    """Replace fields of an input, a state or a dimension."""

    def change(program: Program) -> Mapping[str, Any]:
        parts = list(getattr(program, name))
        parts[which] = replace(parts[which], **fields)
        return {name: tuple(parts)}

    return change


def spare(name: str) -> Value:
    """A value that no instruction defines."""
    return Value(name, (1,), 1.0, 0, 0, 255)


def without(kind: type[Any]) -> Change:
    """Leave out every instruction of a kind."""
    return lambda p: {"ops": tuple(o for o in p.ops if not isinstance(o, kind))}


HUGE = 2**63 - 1
WIDE: dict[str, Any] = {"zero": 0, "lo": -(2**23) + 1, "hi": 2**23 - 1}
DEFECTS: dict[str, tuple[Change, str]] = {
    # order and names
    "no quantize": (lambda p: {"ops": p.ops[1:]}, "input input: no instruction reads it"),
    "no dequantize": (without(Dequantize), "need at least one Dequantize"),
    "no instruction": (fields(ops=()), "no instruction reads it"),
    "an output twice": (lambda p: {"ops": (*p.ops, p.ops[-1])}, "outputs: 'output' stands twice"),
    "other input": (op(Quantize, x="tokens"), "input input: no instruction reads it"),
    # inputs, states, dimensions
    "unknown input": (op(Read, x="words"), "input tokens: no instruction reads it"),
    "no input": (fields(inputs=()), "inputs: need at least one"),
    "an input twice": (lambda p: {"inputs": (*p.inputs, p.inputs[0])}, "inputs: 'input' stands twice"),
    "input of another kind": (changed("inputs", 0, kind="text"), "kind 'text', need 'float' or 'integer'"),
    "floats with an interval": (changed("inputs", 0, hi=3), "a float input has no interval"),
    "empty interval of tokens": (changed("inputs", 1, lo=401), r"interval \[401, 400\] is empty"),
    "tokens beyond int32": (changed("inputs", 1, hi=2**31), "is empty or beyond int32"),
    "integers quantized": (changed("inputs", 0, kind="integer"), "the integer input input: .* takes a float"),
    "floats read": (changed("inputs", 1, kind="float", lo=0, hi=0), "reads the float input tokens"),
    "read with another interval": (changed("inputs", 1, hi=399), "must have scale, zero, lo and hi"),
    "gain of another length": (op(Quantize, gain=np.ones(3, np.float32)), r"gain, bias of shapes \(3,\), \(1,\)"),
    "gain not finite": (op(Quantize, gain=put(0, np.inf)), "a gain or a bias is not finite"),
    "axis": (op(Quantize, axis=3), "axis 3, need 0 to 2"),
    "dims": (changed("inputs", 1, dims=("length",)), r"dims \('length',\), need \(\) or one for each dimension"),
    "unknown dimension": (changed("inputs", 1, dims=("size", "")), "dimension 'size' is not declared"),
    "two sizes": (changed("states", 0, shape=(4, 1)), "state past: dimension length is 4 here and 3 before"),
    "dimension out of range": (changed("dims", 0, least=4), "dimension length is 3, need 4 to 9"),
    "dimension of nothing": (changed("dims", 0, least=0), "from 0 to 9, need sizes from 1"),
    "dimension twice": (lambda p: {"dims": p.dims * 2}, "dims: 'length' stands twice"),
    "dimension of nobody": (lambda p: {"dims": (*p.dims, replace(p.dims[0], name="x"))}, "no input and no state has"),
    "short constant": (changed("dims", 0, most=10), "data has 9 entries along axis 0, but dimension length may be 10"),
    "constant of a stranger": (op(Constant, -1, dims=("x", "")), "names the dimension 'x', need one of"),
    "constant dims": (op(Constant, -1, dims=("length",)), r"need \(\) or one for each dimension"),
    "unknown state": (fields(states=()), "names the state 'past', need one of"),
    "state twice": (lambda p: {"states": p.states * 2}, "states: 'past' stands twice"),
    "never stored": (without(Store), "state past: 0 Store instructions, need one"),
    "never recalled": (op(Recall, state="other"), "state past: no instruction recalls it"),
    "recalled too late": (
        lambda p: {"ops": (*p.ops, Recall("past", "late")), "values": (*p.values, p.states[0].as_value("late"))},
        "recalls it after op",
    ),
    "stored in another shape": (op(Store, x="v0"), "another scale or zero|stores v0 of shape"),
    "state of another scale": (changed("states", 0, scale=0.3), "another scale, zero or interval than the state"),
    "state without a start": (changed("states", 0, zero=-1), r"its start, -1, is not in \[0, 255\]"),
    "cycle": (op(Conv, x="v1"), "op 1 Conv 'block.0': reads 'v1' before"),
    "read before definition": (op(Add, a="v14"), r"op \d+ Add 'v\d+': reads 'v14' before"),
    "unknown value": (op(Add, b="nowhere"), "reads 'nowhere' before"),
    "defined twice": (op(Conv, 1, out="v0"), "defines 'v0' a second time"),
    "not declared": (op(Table, out="other"), "defines 'other', but the next declared value is 'v"),
    "declared twice": (lambda p: {"values": (*p.values, p.values[0])}, "no instruction defines"),
    "never defined": (lambda p: {"values": (*p.values, spare("x"))}, r"no instruction defines \['x'\]"),
    "value named input": (lambda p: {"values": (*p.values, spare("input"))}, "'input' is the name of an input"),
    "exchanged": (moved(2, 3), "before an instruction defines it"),
    # types
    "float for int": (op(Add, k1=1.0), "k1: a value of type float, need int"),
    "bool for int": (op(Add, shift=True), "shift: a value of type bool, need int"),
    "numpy int": (op(Add, k3=np.int64(1)), "k3: a value of type int64, need int"),
    "65 bits": (op(Add, k3=2**63), "beyond 64 bits"),
    "list for tuple": (op(Conv, stride=[1, 1]), "stride: a value of type list, need a tuple"),
    "three strides": (op(Conv, stride=(1, 1, 1)), "stride: 3 items, need 2"),
    "int for name": (op(Conv, layer=3), "layer: a value of type int, need str"),
    "empty name": (op(Conv, layer=""), "need a name of 1 to 512 printable"),
    "long name": (op(Conv, layer="x" * 513), "need a name of 1 to 512 printable"),
    "unprintable name": (op(Conv, layer="a\nb"), "printable"),
    "int16 weight": (op(Conv, weight=lambda w: w.astype(np.int16)), "an array of int16, need an array of int8"),
    "int64 m": (op(Linear, m=lambda m: m.astype(np.int64)), "an array of int64, need an array of int32"),
    "list for array": (op(Table, table=lambda t: t.tolist()), "type list, need an array of uint8"),
    "a stranger": (lambda p: {"ops": (*p.ops, p.space)}, r"op \d+: Space is not an instruction"),
    "ops in a list": (lambda p: {"ops": list(p.ops)}, "need a tuple of instructions"),
    "values in a list": (lambda p: {"values": list(p.values)}, "values: a value of type list"),
    "info with an array": (fields(info={"mean": np.ones(3)}), "info.mean: an array of float64, need plain JSON"),
    "info with NaN": (fields(info={"mean": [float("nan")]}), "need plain JSON"),
    "info with number keys": (fields(info={1: 2}), "a key is not text"),
    "info in a list": (fields(info=[]), "info: need a mapping"),
    # values
    "zero step": (result(Conv, scale=0.0), r"scale 0.0 is not in \[2\^-100"),
    "negative step": (result(Conv, scale=-0.1), "scale -0.1"),
    "infinite step": (result(Conv, scale=float("inf")), "scale: inf, need a finite number"),
    "step below float32": (result(Conv, scale=1e-38), "is not in"),
    "odd zero": (result(Conv, zero=7), "zero 7 of v1 is no multiple of 64, so no real zero at the lowest width"),
    "zero beyond the codes": (result(Conv, zero=256), r"v1 in \[0, 255\] holds no real zero"),
    "far zero": (result(Quantize, zero=2**15 + 1), "value v0: zero 32769, need -32768 to 32768"),
    "integers with zero": (result(Linear, -1, zero=128), "zero 128, need 0: only codes have another"),
    "codes of another width": (small_codes, r"codes of 4 bits lie in \[0, 15\], not in \[0, 16\]"),
    "empty interval": (result(Add, lo=9, hi=8), r"interval \[9, 8\] is empty"),
    "interval beyond int32": (result(Add, lo=-(2**31)), "is empty or beyond int32"),
    "no dimension": (result(Conv, shape=()), r"output has shape \(4, 6, 6\), but v1 is declared as \(\)"),
    "no dimension for a table": (table_of_a_number, "reads v2, which has no dimension"),
    "empty dimension": (result(Conv, shape=(0, 6, 6)), "need dimensions in"),
    "absurd dimension": (result(Conv, shape=(2**25, 1, 1)), "need dimensions in"),
    "absurd size": (result(Conv, shape=(2**12, 2**12, 2**12)), "elements, the most is"),
    "input shape": (changed("inputs", 0, shape=(2, 6, 5)), r"output has shape \(2, 6, 5\), but v0 is declared as"),
    "empty input shape": (changed("inputs", 0, shape=()), "input input: shape"),
    # integers where codes are needed, and the reverse
    "wide quantize": (result(Quantize, **WIDE), "writes the integers v0"),
    "wide table": (result(Table, **WIDE), "writes the integers"),
    "wide reshape": (result(Reshape, **WIDE), "only one of them is codes: this operator keeps them"),
    "other slice": (result(Slice, lo=-9, hi=300, zero=0), "only one of them is codes"),
    "constant beyond": (op(Constant, data=put((0, 0, 0), 256)), r"an integer of data is not in \[0, 255\]"),
    "constant shape": (result(Constant, shape=(3, 3, 1)), "its output has shape"),
    "constant of nothing": (op(Constant, data=lambda d: d[:0]), "need dimensions in"),
    "wide transpose": (result(Transpose, **WIDE), "only one of them is codes: this operator keeps them"),
    "wide slice": (result(Slice, **WIDE), "only one of them is codes: this operator keeps them"),
    "wide pad": (result(Pad, **WIDE), "only one of them is codes: this operator keeps them"),
    "wide read": (op(Table, x=lambda _: "v5"), "reads the integers v5: this operator takes codes alone"),
    "codes chosen from": (result(Linear, 1, lo=0, hi=255), "clamp"),
    # rounding
    "shift 0": (op(Linear, shift=0), "shift 0, need 1 to 32"),
    "shift 33": (op(Rescale, shift=33), "shift 33, need 1 to 32"),
    "lo below": (op(Conv, lo=-1), r"clamp \[-1, "),
    "hi above": (op(AvgPool, hi=256), r"clamp \[.*, 256\] does not lie in \[0, 255\]"),
    "hi below lo": (op(Multiply, lo=9, hi=8), r"clamp \[9, 8\]"),
    "integers beyond their interval": (op(Linear, -1, hi=2**23), "does not lie in"),
    # layers
    "flat kernel": (op(Conv, weight=lambda w: w[0]), r"need \[O, I / groups, KH, KW\]"),
    "channels": (op(Conv, 1, groups=1), "1 groups of 2 channels, but the input has 4"),
    "groups": (op(Conv, 1, weight=lambda w: w[:3], m=lambda m: m[:, :3], c=lambda c: c[:, :3]), "3 output channels do"),
    "no group": (op(Conv, groups=0), r"groups \(0,\)"),
    "stride 0": (op(Conv, stride=(0, 1)), r"stride \(0, 1\), need 1"),
    "dilation 0": (op(Conv, dilation=(1, 0)), "dilation"),
    "negative padding": (op(Conv, padding=(0, 0, -1, 0)), "padding .* need 0"),
    "absurd padding": (op(Conv, padding=(2**24, 0, 2**23, 0)), "padded input"),
    "kernel beyond input": (op(Conv, dilation=(9, 1)), "larger than the padded input 8 x 8"),
    "conv shape": (op(Conv, stride=(2, 1)), r"output has shape \(4, 3, 6\), but v1 is declared as \(4, 6, 6\)"),
    "empty kernel": (op(Conv, weight=lambda w: w[:, :, :0]), "need dimensions in"),
    "rows": (op(Conv, m=lambda m: np.repeat(m[:1], 3, 0)), r"m of shape \(3, 4\), need .*\(4, 4\), \(10, 4\)"),
    "unequal rows": (op(Linear, c=lambda c: c[:0]), "c of shape"),
    "features": (op(Linear, weight=lambda w: w[:, 1:]), "features, but v"),
    "matrix": (op(Linear, weight=lambda w: w[0]), r"need \[O, I\]"),
    # other instructions
    "broadcast": (op(Add, a="v1"), r"op \d+ Add 'v\d+': shapes .* do not broadcast"),
    "rescale rows": (op(Rescale, m=np.ones(3, np.int32), c=np.ones(3, np.int64)), r"need one of \(\(1,\), \(4,\)\)"),
    "concat axis": (op(Concat, axis=3), "axis 3, need 0 to 2"),
    "concat nothing": (op(Concat, xs=()), "xs is empty"),
    "concat shape": (op(Concat, xs=("v1", "v9")), "another scale or zero|does not join"),
    "concat step": (result(Concat, scale=0.3), "another scale or zero"),
    "pool step": (result(MaxPool, scale=0.3), "another scale or zero"),
    "pool padding": (op(MaxPool, padding=(3, 0, 0, 0)), "padding .* alone"),
    "pool kernel": (op(MaxPool, kernel=(0, 3)), "kernel"),
    "empty window": (op(AvgPool, -1, rows=put((0, 1), 0)), "rows: a window is empty"),
    "window outside": (op(AvgPool, -1, columns=put((-1, 1), 9)), r"columns: a window is empty or not inside \[0, 6\]"),
    "window before": (op(AvgPool, -1, rows=put((0, 0), -1)), "rows: a window"),
    "window list": (op(AvgPool, -1, rows=lambda r: r.ravel()), r"need \[count, 2\]"),
    "divisors": (op(AvgPool, -1, m=np.ones((3, 1), np.int32)), "m, c of shapes"),
    "short table": (op(Table, table=lambda t: t[:-1]), r"table of shape \(255,\), need \[256\] or \[8, 256\]"),
    "tables": (op(Table, table=lambda t: np.stack([t] * 7)), r"table of shape \(7, 256\), need \[256\] or \[8, 256\]"),
    "reshape count": (op(Reshape, -1, shape=(5,)), "different numbers of elements"),
    "reshape step": (result(Reshape, scale=0.3), "another scale or zero"),
    "reshape twice": (op(Reshape, -1, shape=(-1, -1)), "has -1 more than once"),
    "reshape below": (op(Reshape, -1, shape=(-2,)), "need dimensions from -1"),
    "reshape copies": (op(Reshape, -1, shape=(0, 0, 0, 0)), "copies a dimension that"),
    "reshape rest": (op(Reshape, -1, shape=(-1, 50)), "different numbers of elements"),
    "reshape declared": (result(Reshape, -1, shape=(5,)), "is declared as"),
    "exponents": (op(Conv, weight_exponents=(2, 2, 2, 1)), r"weight_exponents \(2, 2, 2, 1\), need \(\) or one"),
    "few exponents": (op(Conv, input_exponents=(0, 0)), "input_exponents"),
    "exponents below": (op(Conv, input_exponents=(0, -1, 0, 0)), "input_exponents"),
    "slice dims": (op(Slice, starts=(0, 0)), "one start, stop and step for each dimension"),
    "slice step": (op(Slice, steps=(0, 1, 1)), "steps"),
    "slice outside": (op(Slice, stops=(9, 3, 3)), "is empty or not inside"),
    "slice empty": (op(Slice, starts=(0, 3, 0)), "is empty or not inside"),
    "transpose short": (op(Transpose, axes=(1, 0)), r"axes \(1, 0\), need each of 0 to 2 once"),
    "transpose long": (op(Transpose, axes=(1, 2, 0, 3)), "need each of 0 to 2 once"),
    "transpose twice": (op(Transpose, axes=(1, 1, 0)), "need each of 0 to 2 once"),
    "transpose negative": (op(Transpose, axes=(1, -1, 0)), "need each of 0 to 2 once"),
    "transpose beyond": (op(Transpose, axes=(1, 2**40, 0)), "need each of 0 to 2 once"),
    "transpose step": (result(Transpose, scale=0.3), "another scale or zero"),
    "transpose shape": (result(Transpose, shape=(8, 3, 3)), "its output has shape"),
    "slice zero": (result(Slice, scale=0.3), "another scale or zero"),
    "gather axis": (op(Gather, axis=3), "axis 3, need 0 to 2"),
    "gather before": (op(Gather, axis=-1), "axis -1, need 0 to 2"),
    "gather nothing": (op(Gather, indices=lambda i: i[:0]), "indices: shape"),
    "gather beyond": (op(Gather, indices=put(1, 3)), r"an index is not in \[0, 2\], the places of v\d+ along axis 1"),
    "gather below": (op(Gather, indices=put(0, -1)), "an index is not in"),
    "gather square": (op(Gather, indices=lambda i: i.reshape(2, 2)), r"indices of shape \(2, 2\), need \[count\]"),
    "gather step": (result(Gather, scale=0.3), "another scale or zero"),
    "gather shape": (result(Gather, shape=(3, 3, 3)), "its output has shape"),
    "max of nothing": (op(Max, axes=()), "need some of 0 to 2, ascending"),
    "max twice": (op(Max, axes=(1, 1)), "need some of 0 to 2, ascending"),
    "max descending": (op(Max, axes=(2, 0)), "need some of 0 to 2, ascending"),
    "max negative": (op(Max, axes=(-1, 2)), "need some of 0 to 2, ascending"),
    "max beyond": (op(Max, axes=(0, 2**40)), "need some of 0 to 2, ascending"),
    "max step": (result(Max, scale=0.3), "another scale or zero"),
    "mean of nothing": (op(Mean, axes=()), "need some of 0 to 2, ascending"),
    "mean descending": (op(Mean, axes=(2, 1)), "need some of 0 to 2, ascending"),
    "mean shape": (result(Mean, shape=(1,)), "its output has shape"),
    "mean shift": (op(Mean, shift=0), "shift 0, need 1 to 32"),
    "mean clamp": (op(Mean, hi=256), "does not lie in"),
    "mean divides by a number": (op(Mean, divides=1), "divides: a value of type int, need bool"),
    "mean multiplier": (op(Mean, divides=True, m=2**31 * 16), "the multiplier of 16 elements reaches 2147483648"),
    "sum multiplier": (op(Mean, divides=False, m=-(2**31)), "the multiplier of 16 elements reaches 2147483648"),
    "mean of 64 bits": (op(Mean, divides=True, m=2**62 + 1), "m reaches 4611686018427387905"),
    "mean overflows": (op(Mean, c=HUGE), "acc \\* m \\+ c of 16 elements reaches"),
    "resize of a row": (resize_of_a_row, r"reads v0 of shape \(2, 3\), need \(C, H, W\)"),
    "resize to nothing": (op(Resize, size=(0, 0)), "need a size, or a step a / b"),
    "resize by nothing": (op(Resize, steps=(1, 0, 0, 0)), "need a size, or a step a / b"),
    "resize below": (op(Resize, size=(0, -1)), "size \\(0, -1\\), need 0 to"),
    "resize beyond": (op(Resize, steps=(1, 2, 2**25, 1)), "steps .* need 0 to"),
    "resize shape": (op(Resize, size=(3, 2)), "its output has shape"),
    "resize step": (result(Resize, scale=0.3), "another scale or zero"),
    "pad dims": (op(Pad, before=(0, 1)), "one pair for each dimension"),
    "pad negative": (op(Pad, after=(0, 0, -1)), "after"),
    "pad step": (result(Pad, scale=0.3), "another scale or zero"),
    # the space and its layers
    "macs": (layers(lambda a: replace(a, macs=a.macs + 1)), "layer block.0: the space states 2593 macs, .* has 2592"),
    "weights": (layers(lambda a: replace(a, weights=1)), "states 1 weights"),
    "inputs": (layers(lambda a: replace(a, inputs=1)), "states 1 inputs"),
    "outputs": (layers(lambda a: replace(a, outputs=1)), "states 1 outputs"),
    "missing layer": (space(layers=()), "Choose: its layers are not those"),
    "more layers": (layers(lambda a: replace(a, name="lost")), "layer block.0: not among"),
    "layer twice": (op(Conv, 1, layer="block.0"), "layer block.0: 2 instructions, need one"),
    "named twice": (lambda p: space(controller=p.space.layers)(p), "named twice among layers and controller"),
    "choices repeat": (space(choices=(8, 2)), "need an ascending part"),
    "no choices": (space(choices=()), "controller layers, but no choices"),
    "two choose": (lambda p: {"ops": (*p.ops[:8], p.ops[at(p, Choose)], *p.ops[8:])}, "2 Choose instructions, need 1"),
    "no choose": (lambda p: {"ops": tuple(o for o in p.ops if not isinstance(o, Choose))}, "0 Choose .* need 1"),
    "choose layers": (op(Choose, layers=("block.0",)), "not those of the space"),
    "choose widths": (op(Choose, widths=(2, 4)), r"widths \(2, 4\), but the space's choices are \(2, 8\)"),
    "choose codes": (op(Choose, x="v1"), "reads the codes v1: it takes integers"),
    "choose too late": (moved(6, 7), "comes before the Choose that sets its width"),
    # overflow
    "add overflows": (op(Add, k3=HUGE), r"k1\*a \+ k2\*b \+ k3 reaches"),
    "add multiplier": (op(Add, k1=2**31), "a multiplier reaches 2147483648, the most is 2147483647"),
    "multiply overflows": (op(Multiply, k4=-HUGE), r"k1\*a\*b .* reaches"),
    "multiply multiplier": (op(Multiply, k1=-(2**31)), "the multiplier k1 reaches"),
    "rescale overflows": (op(Rescale, c=put(0, HUGE), m=put(0, 2**31 - 1)), "of channel 0 does not fit int64"),
    "pool overflows": (op(AvgPool, -1, c=lambda c: c * 0 + HUGE, m=lambda m: m * 0 + 1), "does not fit int64"),
    "conv overflows": (op(Conv, c=put((-1, 2), HUGE), m=put((-1, 2), 9)), "block.0': at .* of channel 2 does not"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_named(defect: str) -> None:
    change, message = DEFECTS[defect]
    program = sample()
    with pytest.raises(ProgramError, match=message) as caught:
        replace(program, **change(program))
    assert len(str(caught.value)) < 400


def test_the_sample_has_every_instruction() -> None:
    others = (*random_transformer(0).ops, *random_late(0, again=True).ops)  # whose defects are in files of their own
    kinds = {type(op) for op in (*sample().ops, *others)}
    assert kinds == set(operators().values())
    assert isinstance(sample().ops[-1], Dequantize)


def test_instructions_are_read_only() -> None:
    array = next(op for op in sample().ops if isinstance(op, Conv)).weight
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_a_table_and_weights_of_a_small_master() -> None:
    b = Builder(21, (2, 3, 3), master=4, widths=(2, 4))
    program = b.build(b.linear(b.flatten(b.table(b.conv("v0", 2))), 2))
    for change, message in (
        (op(Table, table=put(3, 16)), "a table entry is above 15"),
        (op(Conv, weight=put((1, 0, 0, 0), 8)), r"a weight is not in \[-8, 7\]"),
        (op(Linear, weight=put((0, 0), -9)), r"a weight is not in \[-8, 7\]"),
    ):
        with pytest.raises(ProgramError, match=message):
            replace(program, **change(program))


def test_an_accumulator_beyond_int32_names_channel_and_bound() -> None:
    taps = 2**31 // (127 * 255) + 1  # 66,313 taps of the largest product, the first count that does not fit
    value, out = Value("v0", (taps,), 1.0, 0, 0, 255), Value("v1", (2,), 1.0, **WIDE)
    weight = np.zeros((2, taps), np.int8)
    m, c = np.ones((1, 2), np.int32), np.zeros((1, 2), np.int64)
    layer = Linear("fc", "v0", "v1", weight, m, c, 32, -5, 5)
    values = {"v0": value, "v1": out}

    def build(weight: Any) -> Program:
        fc = replace(layer, weight=weight)
        space = Space(8, (2, 8), 8, (fc.counts(values, edge=True),))
        ops = (Quantize("input", "v0", *plain_gain(1.0), 0), fc, Dequantize("v1", "output"))
        return Program(space, (value, out), ops, (Input("input", (taps,)),))

    most = weight.copy()
    most[1, : taps - 1] = 127
    assert accumulator_bits(build(most)) == {"fc": 32}
    most = most.copy()
    most[1] = 127
    with pytest.raises(ProgramError, match=f"'fc': at 8 bits the accumulator of channel 1 reaches {127 * 255 * taps}"):
        build(most)


@pytest.mark.parametrize("seed", range(8))
def test_the_bound_is_attained_by_the_worst_input(seed: int) -> None:
    """At every width: the input that is largest where the weight is positive gives the upper bound, and the reverse."""
    rng = np.random.default_rng(seed)
    n, zero = (8, 128) if seed % 2 else (8, 0)
    weight = rng.integers(-128, 128, (1, 3, 2, 2)).astype(np.int8)
    naive = Naive(random_program(0))
    naive.n = n
    layer = next(op for op in sample().ops if isinstance(op, Conv))
    layer = replace(layer, nearest=False, weight_exponents=())
    for b in (2, 3, 5, 8):
        narrow = [naive.weight(layer, int(weight[0, i, u, v]), b, i) for i, u, v in np.ndindex(3, 2, 2)]
        bound = layer_bound(weight, n, b, zero)
        low, high = -zero, 255 - zero
        assert int(bound.hi[0]) == sum(w * (high if w > 0 else low) for w in narrow)
        assert int(bound.lo[0]) == sum(w * (low if w > 0 else high) for w in narrow)
        assert bound.bits == signed_bits(int(bound.lo[0]), int(bound.hi[0]))


def test_a_pool_window_in_the_padding_between_dilated_taps() -> None:
    b = Builder(22, (1, 1, 1))
    with pytest.raises(ProgramError, match="alone"):  # taps at -2 and 1 of a single row: both outside
        b.build(b.max_pool("v0", (2, 1), (1, 1), (2, 1, 0, 0), (3, 1)))


def test_a_border_serves_all_readers_of_a_value() -> None:
    b = Builder(3, (1, 1, 1))
    for _ in range(2):
        x = b.conv("v0", 1, (1, 1), stride=(2**24, 2**24), padding=(0, 0, 0, 0))
    program = b.build(x)
    first = op(Conv, 0, padding=(2**23, 0, 0, 0))(program)
    tall = replace(program, **first)
    with pytest.raises(ProgramError, match=r"value v0, padded for all its readers: shape \(1, 8388609, 8388609\)"):
        replace(tall, **op(Conv, 1, padding=(0, 0, 0, 2**23))(tall))


def test_a_program_without_layers_is_legal() -> None:
    program = Builder(23, (1, 2, 2)).build("v0")
    assert accumulator_bits(program) == {}
    assert program(inputs(program, 1)).shape == (1, 1, 2, 2)


def test_thousands_of_instructions_and_millions_of_weights_are_fast() -> None:
    b = Builder(24, (1, 1, 1))
    x = "v0"
    for _ in range(3000):
        x = b.table(x)
    x = b.reshape(b.pad(x, (0, 0, 0), (999, 0, 0)), (1000,))
    program_parts = b.linear(x, 4000)
    start = time.process_time()
    b.build(program_parts)
    assert time.process_time() - start < 3
