"""Operators that move integers, in C: move.c."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqt.export.c99.code import Code, strides
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
    """The same bytes."""
    value = code.values[op.x]
    code.call("memcpy", code.data(op.out), code.data(op.x), size(value.shape) * (1 if value.coded else 4))


def slice_(code: Code, op: Slice) -> None:
    """A walk with the slice's steps, from its first element on."""
    x, out = code.values[op.x].shape, code.values[op.out].shape
    far = strides(x)
    starts = tuple(first + d * (first < 0) for first, d in zip(op.starts, x, strict=True))
    walk = code.walk(out, strides(out), [a * b for a, b in zip(far, op.steps, strict=True)])
    code.call("dqt_copy", walk, code.value(op.out), 0, code.value(op.x), _offset(starts, far))


def transpose(code: Code, op: Transpose) -> None:
    """A walk over the result, with the input's steps in the other order."""
    out, far = code.values[op.out].shape, strides(code.values[op.x].shape)
    walk = code.walk(out, strides(out), [far[axis] for axis in op.axes])
    code.call("dqt_copy", walk, code.value(op.out), 0, code.value(op.x), 0)


def pad(code: Code, op: Pad) -> None:
    """Zeros everywhere, then the value."""
    x, out = code.values[op.x], code.values[op.out].shape
    far = strides(out)
    code.call("dqt_fill", code.value(op.out), size(out), x.zero)
    walk = code.walk(x.shape, far, strides(x.shape))
    code.call("dqt_copy", walk, code.value(op.out), _offset(op.before, far), code.value(op.x), 0)


def concat(code: Code, op: Concat) -> None:
    """One value after the other."""
    far, start = strides(code.values[op.out].shape), 0
    for name in op.xs:
        x = code.values[name].shape
        walk = code.walk(x, far, strides(x))
        code.call("dqt_copy", walk, code.value(op.out), start * far[op.axis], code.value(name), 0)
        start += x[op.axis]


def gather(code: Code, op: Gather) -> None:
    """See dqt_gather."""
    x = code.values[op.x].shape
    sizes = size(x[: op.axis]), x[op.axis], size(x[op.axis + 1 :])
    indices = code.constant(op.indices, np.int32)
    code.call("dqt_gather", *sizes, indices, len(op.indices), code.value(op.x), code.value(op.out))


def constant(code: Code, op: Constant) -> None:
    """A copy of a constant array, cut to the sizes of named dimensions."""
    value = code.values[op.out]
    part = op.data[tuple(slice(d) for d in value.shape)]
    held = code.constant(part, np.uint8 if value.coded else np.int32)
    code.call("memcpy", code.data(op.out), held, f"sizeof {held}")


def recall(code: Code, op: Recall) -> None:
    """A copy of the state."""
    code.call("memcpy", code.data(op.out), f"self->state_{_state(code, op.state)}", _bytes(code, op.out))


def store(code: Code, op: Store) -> None:
    """A copy to the state: no later instruction reads what was there."""
    code.call("memcpy", f"self->state_{_state(code, op.state)}", code.data(op.x), _bytes(code, op.x))


def _state(code: Code, name: str) -> int:
    return [state.name for state in code.program.states].index(name)


def _bytes(code: Code, name: str) -> int:
    value = code.values[name]
    return size(value.shape) * (1 if value.coded else 4)


FORMS: dict[type[Operator], Any] = {
    Concat: concat, Constant: constant, Gather: gather, Pad: pad, Recall: recall, Reshape: reshape, Slice: slice_,
    Store: store, Transpose: transpose,
}  # fmt: skip
