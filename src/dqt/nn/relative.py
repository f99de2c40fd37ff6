"""What depends on the sizes of named dimensions, said relatively: found by comparing the same thing at several sizes.

A network is captured at a few sizes (:class:`dqt.nn.dimensions.Sizing`). What is equal at all of them does not depend
on them; a shape, or the end of a slice, is said relatively to what it is made of; anything else cannot be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]
Step: TypeAlias = tuple[int, int]
Probes: TypeAlias = Sequence[Shape]
"""One shape at each of the sizes."""
END = 2**63 - 1
"""A slice's stop that means its end."""


@dataclass(frozen=True)
class Group:
    """Neighbouring dimensions that become others: so many, and what they become, of which one may be -1: the rest."""

    count: int
    becomes: Shape


def grouped(before: Probes, after: Probes) -> tuple[Group, ...] | None:
    """How a shape becomes another of as many elements, dimension by dimension; ``None``: the sizes do not tell."""
    groups: list[Group] = []
    i = j = 0
    ranks = len(before[0]), len(after[0])
    while (i, j) != ranks:
        ends = _group(before, after, i, j)
        made = None if ends is None else _said([shape[j : ends[1]] for shape in after])
        if ends is None or made is None:
            return None
        groups.append(Group(ends[0] - i, made))
        i, j = ends
    return tuple(groups)


def _group(before: Probes, after: Probes, i: int, j: int) -> tuple[int, int] | None:
    """Where the smallest group that begins at ``i`` and ``j`` ends: as many elements in both, at every size."""
    ranks, first, second = (len(before[0]), len(after[0])), i, j
    while True:
        have = [math.prod(shape[i:first]) for shape in before]
        need = [math.prod(shape[j:second]) for shape in after]
        if have == need and (first > i or second > j) and _closed(before, after, first, second):
            return first, second
        longer = have[0] <= need[0]
        if first < ranks[0] and (longer or second == ranks[1]):
            first += 1
        elif second < ranks[1]:
            second += 1
        else:
            return None


def _closed(before: Probes, after: Probes, first: int, second: int) -> bool:
    """Whether a group may end here: the last takes all that is left, which may be ones alone."""
    rest = len(before[0]) - first, len(after[0]) - second
    return (0 in rest) == (rest == (0, 0))


def _said(shapes: Probes) -> Shape | None:
    """A part of a shape: sizes that never change, and at most one that does."""
    said = tuple(sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*shapes, strict=True))
    return said if said.count(-1) <= 1 else None


def resolved(groups: Sequence[Group], shape: Shape) -> Shape:
    """The shape that ``shape`` becomes."""
    found: list[int] = []
    start = 0
    for group in groups:
        count = math.prod(shape[start : start + group.count])
        known = math.prod(d for d in group.becomes if d != -1)
        found += [count // known if d == -1 else d for d in group.becomes]
        start += group.count
    return tuple(found)


def cut(lengths: Sequence[int], starts: Sequence[int], stops: Sequence[int]) -> tuple[int, int] | None:
    """Start and stop of a slice of dimensions of these lengths: fixed, or from the end; ``None``: neither."""
    start = _place(lengths, starts)
    stop = END if list(stops) == list(lengths) and len(set(lengths)) > 1 else _place(lengths, stops)
    return None if start is None or stop is None else (start, stop)


def _place(lengths: Sequence[int], places: Sequence[int]) -> int | None:
    if len(set(places)) == 1:
        return places[0]
    behind = {place - length for place, length in zip(places, lengths, strict=True)}
    return min(behind) if len(behind) == 1 and max(behind) < 0 else None


def scaled(lengths: Sequence[int], sizes: Sequence[int], step: Step) -> tuple[int, Step] | None:
    """Size and step of a resized axis, as a program has them: fixed, or a size of 0, in proportion; ``None``: neither.

    Args:
        lengths, sizes: before and after, at each of the sizes.   step: that of the model, or ``(0, 0)``.
    """
    fixed = (sizes[0], step) if len(set(sizes)) == 1 else None
    if len(set(lengths)) == 1:
        return fixed
    above, below = step if step != (0, 0) else Fraction(lengths[0], sizes[0]).as_integer_ratio()
    follows = all(length * below // above == size for length, size in zip(lengths, sizes, strict=True))
    return (0, (above, below)) if follows else fixed


def repeated(indices: Sequence[Sequence[int]], lengths: Sequence[int]) -> int:
    """How often every index follows itself, from the first to the last, at each of the sizes; 0: not so."""
    times = len(indices[0]) // lengths[0]
    whole = ([i // times for i in range(times * length)] for length in lengths)
    return times if times and all(list(at) == each for at, each in zip(indices, whole, strict=True)) else 0


def names_of(lengths: Probes, sizes: Sequence[Mapping[str, int]]) -> tuple[str, ...] | None:
    """The named dimension that each axis is as long as, "" where it never changes; ``None``: one is neither.

    Args:
        lengths: shapes at each of the sizes.   sizes: of named dimensions at each of them.
    """
    names = []
    for axis in zip(*lengths, strict=True):
        if len(set(axis)) == 1:
            names.append("")
            continue
        name = next((name for name in sizes[0] if [each[name] for each in sizes] == list(axis)), None)
        if name is None:
            return None
        names.append(name)
    return tuple(names)
