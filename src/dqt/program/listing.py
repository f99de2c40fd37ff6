"""A program as a table for people, and as rows for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.operator import Operator, Scope
from dqt.program.ops.choose import Choose
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.dequantize import Dequantize
from dqt.program.planned import Planned, accumulator_bits
from dqt.program.values import INTEGER, Input, State

if TYPE_CHECKING:
    from dqt.program.program import Program

HEADINGS = ("op", "name", "output", "widths", "MACs", "weights", "acc bits")
LEFT = 4
"""The first columns hold text, aligned left; the others numbers, aligned right."""


@dataclass(frozen=True)
class Row:
    """One instruction. The last five are ``None`` (``widths`` empty) where the instruction is no layer.

    Attributes:
        op: the operator's name.
        name: the layer's name, or that of the value it defines, or of the output or state that it makes.
        shape: the output's shape without the batch.
        widths: the widths that the layer may run at.
        edge: the layer keeps ``space.edge_width`` under a uniform plan.
        macs: multiply-accumulates per sample.
        weights: number of weights.
        accumulator_bits: two's complement bits proved to hold every accumulator.
    """

    op: str
    name: str
    shape: tuple[int, ...]
    widths: tuple[int, ...] = ()
    edge: bool = False
    macs: int | None = None
    weights: int | None = None
    accumulator_bits: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def rows(program: Program) -> tuple[Row, ...]:
    """One row per instruction, in execution order."""
    scope, bits = Scope.of(program), accumulator_bits(program)
    edges = {layer.name for layer in program.space.layers if layer.edge}
    return tuple(_row(op, scope, bits, edges) for op in program.ops)


def listing(program: Program) -> str:
    """The program as a plain text table: what it is, one line per instruction, totals."""
    space, table = program.space, rows(program)
    lines = aligned([HEADINGS, *(_cells(row) for row in table), _totals(table)], LEFT)
    rule = "-" * max(map(len, lines))
    controller = f", controller chooses from {written_widths(space.choices)}" if space.choices else ""
    packed = f", packed to {space.packed} bits" if space.packed else ""
    head = (
        f"{_borders(program)}master {space.master} bits, widths {written_widths(space.widths)}, "
        f"{len(space.layers)} layers{controller}{packed}"
    )
    note = f"* first and last layers: {space.edge_width} bits under a uniform plan"
    return "\n".join([head, "", lines[0], rule, *lines[1:-1], rule, lines[-1], "", note])


def _borders(program: Program) -> str:
    """Inputs, outputs, states and named dimensions: of one image in and one vector out, the shape of the image."""
    shapes = {value.name: value.shape for value in program.values}
    if len(program.inputs) == len(program.outputs) == 1 and not program.states and not program.dims:
        return f"input {written_shape(program.input_shape)}, "
    lines = [f"input {given.name}: {_named(given)}{_interval(given)}" for given in program.inputs]
    lines += [f"output {out.name}: {written_shape(shapes[out.value])}" for out in program.outputs]
    lines += [f"state {state.name}: {_named(state)}" for state in program.states]
    lines += [f"dimension {dim.name}: {dim.least} to {dim.most}" for dim in program.dims]
    return "".join(f"{line}\n" for line in lines)


def _named(part: Input | State) -> str:
    """A shape with the names of its dimensions."""
    names = part.dims or ("",) * len(part.shape)
    return "x".join(f"{name} ({d})" if name else str(d) for name, d in zip(names, part.shape, strict=True))


def _interval(given: Input) -> str:
    return f", integers from {given.lo} to {given.hi}" if given.kind == INTEGER else ""


def _row(op: Operator, scope: Scope, bits: dict[str, int], edges: set[str]) -> Row:
    name = op.writes()
    if isinstance(op, Planned):
        counts = op.counts(scope.values)
        widths, shape = scope.widths(op.layer), scope.values[name or ""].shape
        edge = op.layer in edges
        return Row(type(op).__name__, op.layer, shape, widths, edge, counts.macs, counts.weights, bits[op.layer])
    if isinstance(op, Choose | ChooseLate):
        return Row(type(op).__name__, op.x, (len(op.layers),), op.widths)
    if name is not None:
        return Row(type(op).__name__, name, scope.values[name].shape)
    ends = op.name if isinstance(op, Dequantize) else getattr(op, "state", "")
    return Row(type(op).__name__, ends, scope.values[op.reads()[0]].shape)


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (row.macs, row.weights, row.accumulator_bits)
    widths = written_widths(row.widths) + ("*" if row.edge else "")
    return (row.op, row.name, written_shape(row.shape), widths, *("" if k is None else f"{k:,}" for k in numbers))


def _totals(table: Sequence[Row]) -> tuple[str, ...]:
    macs, weights = (sum(getattr(row, name) or 0 for row in table) for name in ("macs", "weights"))
    bits = max((row.accumulator_bits or 0 for row in table), default=0)
    return ("total", "", "", "", f"{macs:,}", f"{weights:,}", f"{bits}")


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows of cells as lines of columns of one width; the first ``left`` are aligned left, the others right."""
    lengths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(cells, lengths, left) for cells in rows]


def _line(cells: Sequence[str], lengths: Sequence[int], left: int) -> str:
    pairs = enumerate(zip(cells, lengths, strict=True))
    return "  ".join(c.ljust(n) if i < left else c.rjust(n) for i, (c, n) in pairs).rstrip()


def written_shape(shape: tuple[int, ...]) -> str:
    """A shape in words: ``3x32x32``."""
    return "x".join(str(d) for d in shape)


def written_widths(widths: tuple[int, ...]) -> str:
    """Widths in words: ``2-8`` or ``2,4,8``."""
    if len(widths) > 2 and widths == tuple(range(widths[0], widths[-1] + 1)):
        return f"{widths[0]}-{widths[-1]}"
    return ",".join(str(b) for b in widths)
