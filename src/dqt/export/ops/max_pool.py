"""Max pooling."""

from __future__ import annotations

from dqt.export.graph import Graph
from dqt.export.packages import ExportError
from dqt.program.ops.max_pool import MaxPool

OPERATOR = MaxPool


def add(g: Graph, op: MaxPool) -> None:
    """``MaxPool`` compares uint8 as it compares codes, and its padding is smaller than all."""
    if not g.value(op.x).coded:
        raise ExportError(f"MaxPool '{op.out}' of integers beyond 8 bits has no ONNX operator that keeps them")
    top, bottom, left, right = op.padding
    g.node(
        "MaxPool", [op.x], op.out,
        kernel_shape=op.kernel, strides=op.stride, pads=[top, left, bottom, right], dilations=op.dilation,
    )  # fmt: skip
