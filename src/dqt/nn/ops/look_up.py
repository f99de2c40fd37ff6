"""What a function makes of each whole number, such as a token: a table, computed when the program is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from dqt.nn.chain import Chain
from dqt.nn.graph import Node
from dqt.nn.integers import Codes
from dqt.nn.operator import Handler, Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.embedding import Embedding

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(torch, name) for name in COMPARISONS},
    "logical_not": torch.logical_not,
    "chosen": lambda x, *values: torch.tensor(values, device=x.device)[x.long()],
}
"""Name -> function of a tensor of integers and of the constants of the operator."""
MOST = 1 << 20
"""Rows of a table: as many as the largest vocabularies have, and a few times more."""


def _function(name: str) -> Handler:
    def handler(b: Builder, call: fx.Node) -> str:
        return _append(b, call, call.args[0], name, call.args[1:])

    return handler


def _gather(b: Builder, call: fx.Node) -> str:
    """Numbers that every row of a constant has, picked by the numbers that a model computes."""
    held, index = b.constants.of(call.args[0]), b.arg(call, 2, "index")
    dim = int(b.arg(call, 1, "dim"))
    lines = None if held is None else held.movedim(dim, -1).reshape(-1, held.shape[dim])
    if lines is None or lines.is_floating_point() or not bool((lines == lines[0]).all()):
        raise b.unsupported(call, "picks by index from something else than whole numbers that every row has")
    return _append(b, call, index, "chosen", lines[0].tolist())


def _append(b: Builder, call: fx.Node, source: Any, function: str, args: Sequence[Any]) -> str:
    x = b.operand(call, source)
    b.placements.put(call, b.placements.of(source))
    attrs = {"function": function, "args": tuple(args)}
    if function == "chosen":
        b.bound(call, source, len(args) - 1)
    return b.add(call, "look_up", [x], shape=b.captured.shapes[x], quantizer="int32", attrs=attrs)


def _results(node: Node, x: Tensor) -> Tensor:
    return FUNCTIONS[node.attrs["function"]](x, *node.attrs["args"]).long()


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(_results(node, ins[0].raw), None, run.quantized)


def _emit(e: Emission, node: Node) -> None:
    """Rows of one number each: the multiplier of a row is that number, twice, and the shift halves it."""
    source = e.codes(node.ins[0])
    if source.lo < 0 or source.hi >= MOST:
        limits = f"reads whole numbers in [{source.lo}, {source.hi}], and a table needs them in [0, {MOST - 1}]"
        raise ValueError(f"{limits}: an embedding that reads them, too, says how many there are")
    found = _results(node, torch.arange(source.hi + 1)).numpy()
    low, high = int(found.min()), int(found.max())
    codes = Codes(1.0, 0, low, high)
    x = e.source(node)
    rows = e.define(e.fresh(f"{node.out}.rows"), (*node.shape, 1), codes)
    ones, none = np.ones((len(found), 1), dtype=np.int8), np.zeros(len(found), dtype=np.int64)
    e.append(Embedding(x, rows, ones, (2 * found).astype(np.int32), none, 1, low, high))
    e.names[node.out] = Chain((*node.shape, 1)).reshape(*node.shape).emit(e, rows, node.out)


OPERATOR = Operator(
    kind="look_up",
    fake=_fake,
    emit=_emit,
    whole={
        **{f"aten.{name}.Scalar": _function(name) for name in COMPARISONS},
        "aten.logical_not.default": _function("logical_not"),
        "aten.gather.default": _gather,
    },
)
