"""What operators that work element by element share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from dqt.nn.graph import Step
from dqt.nn.operator import Handler
from dqt.program.ops.table import Table

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission


def binary(kind: str) -> Handler:
    """What appends an operator on two values, without a factor (``alpha``) on one of them."""

    def handler(b: Builder, node: fx.Node) -> str:
        if float(node.kwargs.get("alpha", 1)) != 1:  # type: ignore[arg-type]
            raise b.unsupported(node, "scales an operand (alpha)")
        return b.add(node, kind, [b.value(node, node.args[0]), b.value(node, node.args[1])])

    return handler


def emit_table(e: Emission, step: Step, function: Callable[..., Tensor], args: Sequence[Any]) -> None:
    """Append the table of a real function: its 2^n results, as codes."""
    source, out = e.net.codes(step.ins[0]), e.net.codes(step.out)
    x = torch.arange(source.lo, source.hi + 1, dtype=torch.float64).sub(source.zero).mul(source.step)
    y = function(x, *args).numpy()
    table = np.clip(np.floor(y / out.step + 0.5) + out.zero, out.lo, out.hi).astype(np.uint8)
    e.append(Table(e.source(step), e.result(step), table))
