"""The instructions of a program whose named dimensions may be bound: those of several sizes, said relatively."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.nn.relative import Group, Probes, Shape, cut, grouped, repeated, scaled
from dqt.program.operator import Operator
from dqt.program.ops.gather import Gather
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.resize import Resize
from dqt.program.ops.slice import Slice
from dqt.program.ops.transpose import Transpose
from dqt.program.values import Value

if TYPE_CHECKING:
    from dqt.nn.emission import Emission


@dataclass
class Sized:
    """Values and instructions that hold at all sizes; ``wrong``: what does not, by the node that it is of."""

    values: dict[str, Value]
    ops: list[Operator]
    wrong: dict[str, str]


def sized(emissions: Sequence[Emission]) -> Sized:
    """The program that a network becomes at several sizes, the first of them the example's, as one."""
    first = emissions[0]
    found = Sized({}, [], {})
    for i, op in enumerate(first.ops):
        same = [emission.ops[i] for emission in emissions if i < len(emission.ops)]
        node = first.origins[i]
        if len(same) < len(emissions) or any(type(each) is not type(op) for each in same):
            found.wrong[node] = "becomes other instructions at another size of a named dimension"
            break
        _append(found, same, emissions, node)
    every = first.values | found.values
    found.values = {out: every[out] for op in found.ops if (out := op.writes()) is not None}  # in their order
    return found


def _append(found: Sized, same: Sequence[Operator], emissions: Sequence[Emission], node: str) -> None:
    first, differing = same[0], _differing(same)
    if not differing:
        found.ops.append(first)
    elif isinstance(first, Reshape):
        values = emissions[0].values
        before, after = ([e.values[name].shape for e in emissions] for name in (first.x, first.out))
        steps = reshaping(before, after)
        if steps is None:
            found.wrong[node] = "gives a shape that does not follow from its operand's, dimension by dimension"
        else:
            _append_steps(found, first, steps, values[first.out])
    elif isinstance(first, Slice) and (cuts := _cuts(same, emissions)) is not None:
        starts, stops = zip(*cuts, strict=True)
        found.ops.append(replace(first, starts=starts, stops=stops))
    elif isinstance(first, Resize) and (said := _scaled(first, emissions)) is not None:
        found.ops.append(said)
    elif isinstance(first, Gather) and (steps := _repeating(same, emissions)) is not None:
        _append_steps(found, first, steps, emissions[0].values[first.out])
    else:
        kind = type(first).__name__
        found.wrong[node] = f"becomes {kind} with other {', '.join(differing)} at another size of a named dimension"


def _differing(same: Sequence[Operator]) -> list[str]:
    """Fields in which instructions differ."""
    return [item.name for item in fields(same[0]) if not _equal([getattr(op, item.name) for op in same])]


def _equal(values: Sequence[Any]) -> bool:
    first = values[0]
    if isinstance(first, np.ndarray):
        return all(np.array_equal(first, value) for value in values)
    return all(first == value for value in values)


def _cuts(same: Sequence[Operator], emissions: Sequence[Emission]) -> list[tuple[int, int]] | None:
    """Start and stop of each axis, relatively; ``None``: one is neither fixed nor counted from the end."""
    slices = [op for op in same if isinstance(op, Slice)]
    shapes = [e.values[op.x].shape for op, e in zip(slices, emissions, strict=True)]
    found = []
    for axis in range(len(shapes[0])):
        ends = [shape[axis] for shape in shapes], [op.starts[axis] for op in slices], [op.stops[axis] for op in slices]
        found.append(cut(*ends))
    steps = {op.steps for op in slices}
    whole = [each for each in found if each is not None]
    return whole if len(steps) == 1 and len(whole) == len(found) else None


def _scaled(op: Resize, emissions: Sequence[Emission]) -> Resize | None:
    """Size and steps in proportion to the operand; ``None``: they are not."""
    before, after = ([e.values[name].shape for e in emissions] for name in (op.x, op.out))
    said = [
        scaled([shape[axis] for shape in before], [shape[axis] for shape in after], step)
        for axis, step in ((1, op.steps[:2]), (2, op.steps[2:]))
    ]
    (rows, down), (columns, across) = (each or (-1, (0, 0)) for each in said)
    return None if None in said else replace(op, size=(rows, columns), steps=(*down, *across))


def _repeating(same: Sequence[Operator], emissions: Sequence[Emission]) -> list[Step] | None:
    """Every element so many times, along an axis of any length: in an axis of its own, which is then joined with it."""
    gathers = [op for op in same if isinstance(op, Gather)]
    axis, before = gathers[0].axis, [e.values[op.x].shape for e, op in zip(emissions, gathers, strict=True)]
    times = repeated([op.indices.tolist() for op in gathers], [shape[axis] for shape in before])
    if not times or any(op.axis != axis for op in gathers):
        return None

    def with_axis(length: int) -> list[Shape]:
        return [(*shape[: axis + 1], length, *shape[axis + 1 :]) for shape in before]

    after = [(*shape[:axis], times * shape[axis], *shape[axis + 1 :]) for shape in before]
    apart, joined = reshaping(before, with_axis(1)), reshaping(with_axis(times), after)
    if apart is None or joined is None:
        return None
    return [*apart, Step(_copies, (axis + 1, times), with_axis(times)[0]), *joined]


def _copies(x: str, out: str, field: Shape) -> Gather:
    """The one element along an axis so many times; ``field``: the axis and the number."""
    axis, times = field
    return Gather(x, out, axis, np.zeros(times, dtype=np.int32))


# shapes


@dataclass(frozen=True)
class Step:
    """One of the instructions that a reshape or a repetition becomes: what moves, its field, and the result.

    Attributes:
        move: ``Reshape``, ``Transpose`` or :func:`_copies`.   shape: of the result at the example's sizes.
    """

    move: Callable[[str, str, Shape], Operator]
    field: Shape
    shape: Shape


def reshaping(before: Probes, after: Probes) -> list[Step] | None:
    """Instructions that make shapes ``after`` of shapes ``before`` at every size; ``None``: there are none.

    A ``Reshape`` copies dimensions and infers one. Where more of them change, each group of dimensions that becomes
    others goes to the end, one after the other, and is reshaped there.
    """
    said = tuple(
        _said(sizes, [shape[i : i + 1] for shape in before]) for i, sizes in enumerate(zip(*after, strict=True))
    )
    if said.count(-1) <= 1:
        return [Step(Reshape, said, after[0])]
    groups = grouped(before, after)
    return None if groups is None else _by_groups(groups, before[0], after[0])


def _said(sizes: Sequence[int], same: Probes) -> int:
    """A dimension of a ``Reshape``: fixed, or as in the operand (0), or what is left (-1)."""
    if len(set(sizes)) == 1:
        return sizes[0]
    return 0 if all(place == (size,) for place, size in zip(same, sizes, strict=True)) else -1


def _by_groups(groups: Sequence[Group], before: Shape, after: Shape) -> list[Step]:
    blocks, becomes = _blocks([g.count for g in groups], before), _blocks([len(g.becomes) for g in groups], after)
    order, steps = list(range(len(groups))), list[Step]()
    for i, group in enumerate(groups):
        if blocks[i] == becomes[i]:
            continue
        order = _permuted(steps, blocks, order, [*(each for each in order if each != i), i])
        kept = sum(len(blocks[each]) for each in order[:-1])
        blocks[i] = becomes[i]
        steps.append(Step(Reshape, (*(0,) * kept, *group.becomes), _shape(blocks, order)))
    _permuted(steps, blocks, order, list(range(len(groups))))
    return steps


def _blocks(counts: Sequence[int], shape: Shape) -> list[Shape]:
    ends = list(accumulate(counts))
    return [shape[end - count : end] for count, end in zip(counts, ends, strict=True)]


def _shape(blocks: Sequence[Shape], order: Sequence[int]) -> Shape:
    return tuple(size for each in order for size in blocks[each])


def _permuted(steps: list[Step], blocks: Sequence[Shape], old: Sequence[int], new: list[int]) -> list[int]:
    """Append the transpose that brings blocks into another order, if it is another."""
    starts = dict(zip(old, accumulate((len(blocks[each]) for each in old), initial=0), strict=False))
    axes = tuple(starts[each] + i for each in new for i in range(len(blocks[each])))
    if axes != tuple(range(len(axes))):
        steps.append(Step(Transpose, axes, _shape(blocks, new)))
    return new


def _append_steps(found: Sized, op: Reshape | Gather, steps: Sequence[Step], out: Value) -> None:
    name = op.x
    for i, step in enumerate(steps):
        after = op.out if i + 1 == len(steps) else f"{op.out}.step{i}"
        found.values[after] = replace(out, name=after, shape=step.shape)
        found.ops.append(step.move(name, after, step.field))
        name = after
