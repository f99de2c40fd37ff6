"""What operators on two values share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from dqt.nn.operator import Handler

if TYPE_CHECKING:
    from dqt.nn.capture import Builder


def binary(kind: str) -> Handler:
    """What appends an operator on two values, without a factor (``alpha``) on one of them."""

    def handler(b: Builder, node: fx.Node) -> str:
        if float(node.kwargs.get("alpha", 1)) != 1:  # type: ignore[arg-type]
            raise b.unsupported(node, "scales an operand (alpha)")
        return b.add(node, kind, [b.value(node, node.args[0]), b.value(node, node.args[1])])

    return handler
