"""Operators that move integers, in C: move.c."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqt.export.c99.arena import bytes_of
from dqt.export.c99.code import Code
from dqt.export.c99.layout import order, strides
from dqt.program.operator import Operator
from dqt.program.ops.concat import Concat
from dqt.program.ops.constant import Constant
from dqt.program.ops.gather import Gather
from dqt.program.ops.pad import Pad
from dqt.program.ops.recall import Recall
from dqt.program.ops.reshape import Reshape
from dqt.program.ops.slice import Slice
from dqt.program.ops.store import Store
from dqt.program.ops.transpose import Transpose
from dqt.program.schema import size


def _offset(places: tuple[int, ...], steps: list[int]) -> int:
    return sum(place * step for place, step in zip(places, steps, strict=True))


def reshape(code: Code, op: Reshape) -> None:
    """The same bytes, or the same order of elements where they lie in another."""
    names = (op.x, op.out)
    if code.last.intersection(names):
        walks = (code.walk(code.values[k].shape, code.strides(k), [0] * len(code.values[k].shape)) for k in names)
        code.call("dqt_reshape", *walks, *map(code.value, names))
    elif code.places[op.x] != code.places[op.out]:
        code.call("memcpy", code.data(op.out), code.data(op.x), bytes_of(code.values[op.x]))


def slice_(code: Code, op: Slice) -> None:
    """A walk with the slice's steps, from its first element on, in the order of the result."""
    x, far = code.values[op.x].shape, code.strides(op.x)
    starts = tuple(first + d * (first < 0) for first, d in zip(op.starts, x, strict=True))
    walk = code.over(op.out, code.strides(op.out), [a * b for a, b in zip(far, op.steps, strict=True)])
    code.call("dqt_copy", walk, code.value(op.out), 0, code.value(op.x), _offset(starts, far))


def transpose(code: Code, op: Transpose) -> None:
    """A walk over the result, with the input's steps in the other order."""
    out, far = code.values[op.out].shape, code.strides(op.x)
    walk = code.walk(out, code.strides(op.out), [far[axis] for axis in op.axes])
    code.call("dqt_copy", walk, code.value(op.out), 0, code.value(op.x), 0)


def pad(code: Code, op: Pad) -> None:
    """Zeros everywhere, then the value."""
    x, out = code.values[op.x], code.values[op.out].shape
    far = code.strides(op.out)
    code.call("dqt_fill", code.value(op.out), size(out), x.zero)
    walk = code.walk(x.shape, far, code.strides(op.x))
    code.call("dqt_copy", walk, code.value(op.out), _offset(op.before, far), code.value(op.x), 0)


def concat(code: Code, op: Concat) -> None:
    """One value after the other."""
    far, start = code.strides(op.out), 0
    for name in op.xs:
        x = code.values[name].shape
        walk = code.walk(x, far, code.strides(name))
        code.call("dqt_copy", walk, code.value(op.out), start * far[op.axis], code.value(name), 0)
        start += x[op.axis]


def gather(code: Code, op: Gather) -> None:
    """See dqt_gather."""
    parts = (code.values[op.x].shape, code.strides(op.out), code.strides(op.x))
    walk = code.walk(*([*part[: op.axis], *part[op.axis + 1 :]] for part in parts))
    indices, (to, from_) = code.constant(op.indices, np.int32), (part[op.axis] for part in parts[1:])
    code.call("dqt_gather", walk, indices, len(op.indices), code.value(op.x), from_, code.value(op.out), to)


def constant(code: Code, op: Constant) -> None:
    """A copy of a constant array, cut to the sizes of named dimensions, in the order of the value's memory."""
    value = code.values[op.out]
    part = op.data[tuple(slice(d) for d in value.shape)].transpose(order(value.shape, op.out in code.last))
    held = code.constant(part, np.uint8 if value.coded else np.int32)
    code.call("memcpy", code.data(op.out), held, f"sizeof {held}")


def recall(code: Code, op: Recall) -> None:
    """A copy of the state."""
    _state(code, op.state, op.out, to_state=False)


def store(code: Code, op: Store) -> None:
    """A copy to the state: no later instruction reads what was there."""
    _state(code, op.state, op.x, to_state=True)


def _state(code: Code, state: str, name: str, *, to_state: bool) -> None:
    """A state is row-major."""
    value, place = code.values[name], [each.name for each in code.program.states].index(state)
    there, far = f"self->state_{place}", (code.strides(name), strides(value.shape))
    if name not in code.last:
        sides = (there, code.data(name)) if to_state else (code.data(name), there)
        code.call("memcpy", *sides, bytes_of(value))
        return
    held = f"(dqt_value){{{there}, {int(not value.coded)}}}"
    if to_state:
        code.call("dqt_copy", code.walk(value.shape, *far[::-1]), held, 0, code.value(name), 0)
    else:
        code.call("dqt_copy", code.walk(value.shape, *far), code.value(name), 0, held, 0)


FORMS: dict[type[Operator], Any] = {
    Concat: concat, Constant: constant, Gather: gather, Pad: pad, Recall: recall, Reshape: reshape, Slice: slice_,
    Store: store, Transpose: transpose,
}  # fmt: skip
