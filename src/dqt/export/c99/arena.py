"""Where values lie in the arena: beside each other while they live, one over the other where an operator allows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dqt.program.graph import last_reads
from dqt.program.operator import Operator
from dqt.program.ops.add import Add
from dqt.program.ops.conv import Conv
from dqt.program.ops.max_pool import MaxPool
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.slice import Slice
from dqt.program.ops.table import Table
from dqt.program.schema import size
from dqt.program.values import Value

ALIGNMENT = 8


@dataclass
class Block:
    """Values that follow each other in one place: each is read for the last time by what writes the next.

    Attributes:
        places: value -> its first byte inside of the block.   first, last: instructions while it is needed.
    """

    places: dict[str, int]
    bytes: int
    first: int
    last: int

    def grown(self, x: str, count: int, down: int) -> tuple[int, int]:
        """How far everything moves up, and all bytes, with ``count`` bytes more that begin ``down`` below ``x``."""
        start = self.places[x] - down
        up = max(0, -start)
        return up, max(self.bytes, start + count) + up

    def add(self, x: str, out: str, count: int, down: int) -> None:
        """Place ``out`` so."""
        up, total = self.grown(x, count, down)
        self.places = {name: place + up for name, place in self.places.items()}
        self.places[out] = self.places[x] - down
        self.bytes = total


def placed(
    values: Mapping[str, Value], last: frozenset[str], ops: Sequence[Operator], scratch: Mapping[str, int]
) -> tuple[dict[str, int], int]:
    """The first byte of each value and, as ``row of OUT``, of each scratch area; and the bytes of all.

    Args:
        last: the values whose channels lie side by side.   scratch: value -> bytes that its instruction needs.
    """
    blocks: list[Block] = []
    of: dict[str, Block] = {}
    for i, (op, dead) in enumerate(zip(ops, last_reads(ops), strict=True)):
        out = op.writes()
        if out is not None:
            of[out] = _block(values, last, op, [name for name in dead if name in of], of, i)
            if len(of[out].places) == 1:
                blocks.append(of[out])
            if out in scratch:
                blocks.append(Block({f"row of {out}": 0}, scratch[out], i, i))
        for name in (*dead, *filter(None, [out])):
            of[name].last = max(of[name].last, i)
    return _beside(blocks)


def bytes_of(value: Value) -> int:
    """Codes take a byte each, integers four."""
    return size(value.shape) * (1 if value.coded else 4)


def _block(
    values: Mapping[str, Value], last: frozenset[str], op: Operator, dead: list[str], of: Mapping[str, Block], i: int
) -> Block:
    """The block of what ``op`` writes: that of a value that dies there if it is cheaper than one of its own."""
    out = op.writes()
    assert out is not None
    count = bytes_of(values[out])
    choices = [(of[x].grown(x, count, down)[1] - of[x].bytes, x, down) for x, down in over(values, last, op)]
    more, x, down = min((c for c in choices if c[1] in dead), default=(count, "", 0))
    if more >= count:
        return Block({out: 0}, count, i, i)
    of[x].add(x, out, count, down)
    return of[x]


def over(values: Mapping[str, Value], last: frozenset[str], op: Operator) -> Iterator[tuple[str, int]]:
    """What ``op`` may write over, and how many bytes before its start, so that nothing is lost that it still reads."""
    out = op.writes()
    assert out is not None
    for x in op.reads():
        wide, made = bytes_of(values[x]) // size(values[x].shape), bytes_of(values[out]) // size(values[out].shape)
        if isinstance(op, Reshape) and x not in last and out not in last:
            yield x, 0
        if isinstance(op, Slice) and (x in last) == (out in last) and min(op.steps) > 0:
            yield x, 0  # results follow each other more closely than what is read
        alike = (x in last) == (out in last) and values[x].shape == values[out].shape and made <= wide
        if isinstance(op, Add | Multiply | Rescale | Table) and alike:
            yield x, 0
        if isinstance(op, Conv | MaxPool) and x in last and out in last and wide == 1:
            yield x, _behind(op, values[x], values[out], made)


def _behind(op: Conv | MaxPool, x: Value, out: Value, made: int) -> int:
    """How far results that are written in order run ahead of the rows that are read, at most, in bytes.

    While row i is computed, rows from i * stride - top on are read, and what is written ends with row i; or with one
    place more where two places at a time are computed group by group.
    """
    channels, _, width = x.shape
    count, rows, columns = out.shape
    more = int(isinstance(op, Conv) and op.groups > 1)
    ahead = (
        ((i + 1) * columns + more) * count * made - max(0, i * op.stride[0] - op.padding[0]) * width * channels
        for i in range(rows)
    )
    return -(-max(0, *ahead, 0) // ALIGNMENT) * ALIGNMENT


def _beside(blocks: Sequence[Block]) -> tuple[dict[str, int], int]:
    """The best of several orders in which blocks find room."""
    orders = (
        sorted(blocks, key=lambda each: (-each.bytes, each.first)),
        sorted(blocks, key=lambda each: (each.first - each.last, -each.bytes)),
        blocks,
        blocks[::-1],
    )
    return min(map(_first_fit, orders), key=lambda found: found[1])


def _first_fit(blocks: Sequence[Block]) -> tuple[dict[str, int], int]:
    """Each block at the lowest place that nothing takes while it is needed."""
    places: list[tuple[int, Block]] = []
    for block in blocks:
        at = 0
        others = ((start, b) for start, b in places if b.first <= block.last and block.first <= b.last)
        for start, other in sorted(others, key=lambda each: each[0]):
            if at + block.bytes <= start:
                break
            at = max(at, -(-(start + other.bytes) // ALIGNMENT) * ALIGNMENT)
        places.append((at, block))
    found = {name: at + place for at, block in places for name, place in block.places.items()}
    return found, max((at + block.bytes for at, block in places), default=1)
