"""An independent program executor in Python integers, one element at a time, sharing no arithmetic with the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import product
from math import floor
from typing import Any

import numpy as np

from dqt.program.graph import needed
from dqt.program.ops.add import Add
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.choose import Choose
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.concat import Concat
from dqt.program.ops.constant import Constant
from dqt.program.ops.conv import Conv
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.embedding import Embedding
from dqt.program.ops.gather import Gather
from dqt.program.ops.linear import Linear
from dqt.program.ops.mat_mul import MatMul
from dqt.program.ops.max import Max
from dqt.program.ops.max_pool import MaxPool
from dqt.program.ops.mean import Mean
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.normalize import Normalize
from dqt.program.ops.pad import Pad
from dqt.program.ops.quantize import Quantize
from dqt.program.ops.read import Read
from dqt.program.ops.recall import Recall
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.resize import Resize
from dqt.program.ops.slice import Slice
from dqt.program.ops.softmax import Softmax
from dqt.program.ops.store import Store
from dqt.program.ops.table import Table
from dqt.program.ops.top_k import TopK
from dqt.program.ops.transpose import Transpose
from dqt.program.program import Program
from tests.program.naive_rows import normalized, softmax

Index = tuple[int, ...]
Tensor = dict[Index, int]
Pairs = Mapping[str, tuple[int, int]]


class Naive:
    """One sample at a time: ``run`` gives every value as ``{index: integer}``; ``stored`` is what it leaves."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.n = program.space.master
        self.values = {v.name: v for v in program.values}
        self.stored: dict[str, Tensor] = {}

    def run(
        self, x: Any, pairs: Pairs | None, state: Mapping[str, Tensor] | None = None
    ) -> tuple[dict[str, Tensor], dict[str, tuple[int, int]]]:
        """Values of one sample; ``pairs`` of widths by layer, ``None``: let the program choose.

        ``x``: an array, or one for each input by name; ``state``: what the run before stored.
        """
        given = x if isinstance(x, Mapping) else {self.program.inputs[0].name: x}
        data: dict[str, Tensor] = {}
        own = dict.fromkeys((layer.name for layer in self.program.space.controller), (self.n, self.n))
        edges = {la.name: (self.program.space.edge_width,) * 2 for la in self.program.space.layers if la.edge}
        late = next((op for op in self.program.ops if isinstance(op, ChooseLate)), None)
        begin = dict.fromkeys(self.program.space.chosen, (late.first, late.first)) if late and pairs is None else {}
        widths = {**own, **begin, **(edges if pairs is None else pairs)}
        for op in self.program.ops:
            if isinstance(op, Quantize):
                data[op.out] = self.quantize(op, given[op.x])
            elif isinstance(op, Read):
                data[op.out] = {i: int(given[op.x][i]) for i in self.indices(op.out)}
            elif isinstance(op, Recall):
                data[op.out] = state[op.state] if state else self.start(op)
            elif isinstance(op, Store):
                self.stored[op.state] = data[op.x]
            elif isinstance(op, Choose):
                if pairs is None:
                    widths.update(self.choose(op, data[op.x]))
            elif isinstance(op, ChooseLate):
                b = op.widths[max(range(len(op.widths)), key=lambda k: (data[op.x][(k,)], -k))]
                if pairs is None and op.again and b != op.first:
                    chosen = {**edges, **dict.fromkeys(op.layers, (b, b))}
                    again, widths = self.run(x, chosen, state)
                    served = {each.writes() for each in needed(self.program.ops, auto=False)}
                    return {name: (again if name in served else data)[name] for name in again}, widths
                if pairs is None:
                    widths.update(dict.fromkeys(op.layers, (b, b)))
            elif not isinstance(op, Dequantize):
                method: Callable[..., Tensor] = getattr(self, type(op).__name__.lower())
                layer = (widths[op.layer],) if isinstance(op, Conv | Linear | MatMul) else ()
                data[op.writes() or ""] = method(op, data, *layer)
        return data, widths

    def indices(self, name: str) -> Iterator[Index]:
        return product(*(range(d) for d in self.values[name].shape))

    def top(self) -> int:
        return 2**self.n - 1

    def quantize(self, op: Quantize, x: Any) -> Tensor:
        value = self.values[op.out]
        found: Tensor = {}
        for i in self.indices(op.out):
            k = i[op.axis] if len(op.gain) > 1 else 0
            product = np.float32(np.float32(x[i]) * op.gain[k])
            code = float(np.float32(product + op.bias[k]))
            found[i] = min(max(round(min(max(code, -1e9), 1e9)) + value.zero, 0), self.top())
        return found

    def start(self, op: Recall) -> Tensor:
        (state,) = (state for state in self.program.states if state.name == op.state)
        return dict.fromkeys(self.indices(op.out), state.zero)

    def exponent(self, exponents: tuple[int, ...], b: int) -> int:
        return dict(zip(self.program.space.widths, exponents, strict=True))[b] if exponents else 0

    def activation(self, q: int, b: int, e: int, zero: int) -> int:
        """``q`` counted from the first code of a range of 2^-e around the zero point, which saturates."""
        first = zero - zero // 2**e
        width, inside = 2 ** (self.n - b - e), min(max(q - first, 0), 2 ** (self.n - e) - 1) if e else q - first
        return min((inside + width // 2) // width, 2**b - 1) * width + first

    def weight(self, op: Conv | Linear, q: int, b: int, index: int) -> int:
        e = self.exponent(op.weight_exponents, b)
        width, half = 2 ** (self.n - b - e), 2 ** (self.n - 1 - e)
        q = min(max(q, -half), half - 1)
        if op.nearest:
            return min((q + width // 2) // width, 2 ** (b - 1) - 1) * width
        return q // width * width + (width // 2 - index % 2 if width > 1 else 0)

    def rounded(self, op: Any, acc: int, m: Any, c: Any) -> int:
        return min(max((acc * int(m) + int(c)) // 2**op.shift, op.lo), op.hi)

    def row(self, op: Any, pair: tuple[int, int]) -> int:
        widths, n = self.program.space.widths, self.program.space.master
        own = [(b, b) for b in widths] + [(b, n) for b in widths[:-1]] + [(n, b) for b in widths[:-1]]
        if len(op.m) == 1:
            return 0
        if len(op.m) == len(widths) or pair[0] == pair[1]:
            return widths.index(min(pair))
        return own.index((pair[0], n) if pair[0] < pair[1] else (n, pair[1]))

    def conv(self, op: Conv, data: dict[str, Tensor], pair: tuple[int, int]) -> Tensor:
        x, value, k = data[op.x], self.values[op.x], self.row(op, pair)
        count, depth, high, wide = op.weight.shape
        e = self.exponent(op.input_exponents, pair[1])
        out: Tensor = {}
        for f, r, s in self.indices(op.out):
            acc = 0
            for i, u, v in product(range(depth), range(high), range(wide)):
                channel = f // (count // op.groups) * depth + i
                row = r * op.stride[0] - op.padding[0] + u * op.dilation[0]
                column = s * op.stride[1] - op.padding[2] + v * op.dilation[1]
                if (channel, row, column) in x:
                    index = u * wide + v if depth == 1 else i
                    q = self.activation(x[channel, row, column], pair[1], e, value.zero) - value.zero
                    acc += self.weight(op, int(op.weight[f, i, u, v]), pair[0], index) * q
            out[f, r, s] = self.rounded(op, acc, op.m[k, f], op.c[k, f])
        return out

    def linear(self, op: Linear, data: dict[str, Tensor], pair: tuple[int, int]) -> Tensor:
        x, zero, k = data[op.x], self.values[op.x].zero, self.row(op, pair)
        e = self.exponent(op.input_exponents, pair[1])
        out: Tensor = {}
        for *lead, f in self.indices(op.out):
            taps = ((i, self.activation(x[(*lead, i)], pair[1], e, zero) - zero) for i in range(op.weight.shape[1]))
            acc = sum(self.weight(op, int(op.weight[f, i]), pair[0], i) * q for i, q in taps)
            out[(*lead, f)] = self.rounded(op, acc, op.m[k, f], op.c[k, f])
        return out

    def matmul(self, op: MatMul, data: dict[str, Tensor], pair: tuple[int, int]) -> Tensor:
        zeros, depth = [self.values[name].zero for name in (op.a, op.b)], self.values[op.a].shape[-1]
        out: Tensor = {}
        for *lead, i, j in self.indices(op.out):
            acc = 0
            for k in range(depth):
                codes = self.operand(op.a, data, (*lead, i, k)), self.operand(op.b, data, (*lead, k, j))
                a, b = (self.activation(q, w, 0, z) - z for q, w, z in zip(codes, pair, zeros, strict=True))
                acc += a * b
            out[(*lead, i, j)] = self.rounded(op, acc, op.m, op.c)
        return out

    def normalize(self, op: Normalize, data: dict[str, Tensor]) -> Tensor:
        value = self.values[op.x]
        length = value.shape[op.axis] // op.groups
        rows: dict[Index, list[Index]] = {}
        for i in self.indices(op.x):
            rows.setdefault((*i[: op.axis], i[op.axis] // length), []).append(i)
        out: Tensor = {}
        for row in rows.values():
            v = normalized([data[op.x][i] - value.zero for i in row], op.epsilon, op.fraction, center=op.center)
            for i, u in zip(row, v, strict=True):
                k = tuple(0 if d == 1 else at for d, at in zip(op.m.shape, i, strict=True))
                out[i] = self.rounded(op, u, op.m[k], op.c[k])
        return out

    def softmax(self, op: Softmax, data: dict[str, Tensor]) -> Tensor:
        out: Tensor = {}
        for *lead, last in self.indices(op.out):
            if last == 0:
                row = [(*lead, k) for k in range(self.values[op.x].shape[-1])]
                value = self.values[op.out]
                q = softmax([data[op.x][i] for i in row], op.m, op.shift, round(1 / value.scale))
                out.update((i, min(y, value.hi)) for i, y in zip(row, q, strict=True))
        return out

    def embedding(self, op: Embedding, data: dict[str, Tensor]) -> Tensor:
        out: Tensor = {}
        for *lead, f in self.indices(op.out):
            q = data[op.x][tuple(lead)]
            k = q if len(op.m) > 1 else 0
            out[(*lead, f)] = self.rounded(op, int(op.table[q, f]), op.m[k], op.c[k])
        return out

    def operand(self, name: str, data: dict[str, Tensor], index: Index) -> int:
        shape = self.values[name].shape
        tail = index[len(index) - len(shape) :]
        return data[name][tuple(0 if d == 1 else i for d, i in zip(shape, tail, strict=True))]

    def add(self, op: Add, data: dict[str, Tensor]) -> Tensor:
        out: Tensor = {}
        for i in self.indices(op.out):
            a, b = self.operand(op.a, data, i), self.operand(op.b, data, i)
            out[i] = self.rounded(op, op.k1 * a + op.k2 * b, 1, op.k3)
        return out

    def multiply(self, op: Multiply, data: dict[str, Tensor]) -> Tensor:
        out: Tensor = {}
        for i in self.indices(op.out):
            a, b = self.operand(op.a, data, i), self.operand(op.b, data, i)
            out[i] = self.rounded(op, op.k1 * a * b + op.k2 * a + op.k3 * b, 1, op.k4)
        return out

    def rescale(self, op: Rescale, data: dict[str, Tensor]) -> Tensor:
        k = {i: i[0] if len(op.m) > 1 else 0 for i in data[op.x]}
        return {i: self.rounded(op, q, op.m[k[i]], op.c[k[i]]) for i, q in data[op.x].items()}

    def concat(self, op: Concat, data: dict[str, Tensor]) -> Tensor:
        out: Tensor = {}
        start = 0
        for name in op.xs:
            for i, q in data[name].items():
                out[(*i[: op.axis], i[op.axis] + start, *i[op.axis + 1 :])] = q
            start += self.values[name].shape[op.axis]
        return out

    def maxpool(self, op: MaxPool, data: dict[str, Tensor]) -> Tensor:
        out: Tensor = {}
        for c, r, s in self.indices(op.out):
            rows = (r * op.stride[0] - op.padding[0] + u * op.dilation[0] for u in range(op.kernel[0]))
            columns = [s * op.stride[1] - op.padding[2] + v * op.dilation[1] for v in range(op.kernel[1])]
            window = ((c, i, j) for i, j in product(rows, columns))
            out[c, r, s] = max(data[op.x][i] for i in window if i in data[op.x])
        return out

    def avgpool(self, op: AvgPool, data: dict[str, Tensor]) -> Tensor:
        zero = self.values[op.x].zero
        out: Tensor = {}
        for c, r, s in self.indices(op.out):
            window = product(range(*op.rows[r]), range(*op.columns[s]))
            acc = sum(data[op.x][c, i, j] - zero for i, j in window)
            k = (r, s) if op.m.size > 1 else (0, 0)
            out[c, r, s] = self.rounded(op, acc, op.m[k], op.c[k])
        return out

    def constant(self, op: Constant, data: dict[str, Tensor]) -> Tensor:
        return {i: int(op.data[i]) for i in self.indices(op.out)}

    def table(self, op: Table, data: dict[str, Tensor]) -> Tensor:
        by_channel = op.table.ndim == 2
        return {i: int(op.table[i[0], q] if by_channel else op.table[q]) for i, q in data[op.x].items()}

    def reshape(self, op: Reshape, data: dict[str, Tensor]) -> Tensor:
        return dict(zip(self.indices(op.out), (data[op.x][i] for i in self.indices(op.x)), strict=True))

    def slice(self, op: Slice, data: dict[str, Tensor]) -> Tensor:
        starts = (a + d if a < 0 else a for a, d in zip(op.starts, self.values[op.x].shape, strict=True))
        triples = list(zip(starts, op.steps, strict=True))
        where = {i: tuple(a + k * p for p, (a, k) in zip(i, triples, strict=True)) for i in self.indices(op.out)}
        return {i: data[op.x][j] for i, j in where.items()}

    def transpose(self, op: Transpose, data: dict[str, Tensor]) -> Tensor:
        return {tuple(i[axis] for axis in op.axes): q for i, q in data[op.x].items()}

    def gather(self, op: Gather, data: dict[str, Tensor]) -> Tensor:
        where = {i: (*i[: op.axis], int(op.indices[i[op.axis]]), *i[op.axis + 1 :]) for i in self.indices(op.out)}
        return {i: data[op.x][j] for i, j in where.items()}

    def over(self, op: Any, data: dict[str, Tensor]) -> dict[Index, list[int]]:
        """What each element of the result of a reduction reads."""
        read: dict[Index, list[int]] = {}
        for i, q in data[op.x].items():
            read.setdefault(tuple(0 if axis in op.axes else p for axis, p in enumerate(i)), []).append(q)
        return read

    def max(self, op: Max, data: dict[str, Tensor]) -> Tensor:
        return {i: max(read) for i, read in self.over(op, data).items()}

    def topk(self, op: TopK, data: dict[str, Tensor]) -> Tensor:
        rows: dict[Index, list[int]] = {}
        for i, q in data[op.x].items():
            rows.setdefault(i[:-1], []).append(q)
        return {(*i, k): sorted(row)[-1 - k] for i, row in rows.items() for k in range(op.count)}

    def mean(self, op: Mean, data: dict[str, Tensor]) -> Tensor:
        zero, out = self.values[op.x].zero, dict[Index, int]()
        for i, read in self.over(op, data).items():
            half = Fraction(op.m, len(read)) + Fraction(len(read) // 2, len(read))
            k = floor(half) if op.divides else op.m
            out[i] = self.rounded(op, sum(q - zero for q in read), k, op.c)
        return out

    def place(self, op: Resize, axis: int, i: int) -> list[tuple[int, int]]:
        """The inputs that an output lies between along rows (0) or columns (1), and their weights of 2048."""
        inputs, outputs = self.values[op.x].shape[1 + axis], self.values[op.out].shape[1 + axis]
        above, below = op.steps[2 * axis], op.steps[2 * axis + 1]
        step = Fraction(above, below) if above else Fraction(inputs, outputs)
        at = max((i + Fraction(1, 2)) * step - Fraction(1, 2), Fraction(0))
        if op.corners:
            at = Fraction(i * (inputs - 1), max(outputs - 1, 1))
        first = min(floor(at), inputs - 1)
        weight = min(floor((at - first) * 2048 + Fraction(1, 2)), 2048)
        return [(first, 2048 - weight), (min(first + 1, inputs - 1), weight)]

    def resize(self, op: Resize, data: dict[str, Tensor]) -> Tensor:
        out: Tensor = {}
        for c, i, j in self.indices(op.out):
            taps = product(self.place(op, 0, i), self.place(op, 1, j))
            acc = sum(data[op.x][c, y, x] * down * across for (y, down), (x, across) in taps)
            out[c, i, j] = (acc + 2**21) // 2**22
        return out

    def pad(self, op: Pad, data: dict[str, Tensor]) -> Tensor:
        zero = self.values[op.x].zero
        inner = {i: tuple(p - a for p, a in zip(i, op.before, strict=True)) for i in self.indices(op.out)}
        return {i: data[op.x].get(j, zero) for i, j in inner.items()}

    def choose(self, op: Choose, logits: Tensor) -> dict[str, tuple[int, int]]:
        count = len(op.widths)
        chosen: dict[str, tuple[int, int]] = {}
        for i, layer in enumerate(op.layers):
            some = [logits[(i * count + k,)] for k in range(count)]
            b = op.widths[some.index(max(some))]
            chosen[layer] = (b, b)
        return chosen
