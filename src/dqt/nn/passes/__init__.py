"""Rewrites of a captured graph, one a file: what torch.export gives becomes what quantizes well.

Capture changes nothing of what it reads. Each pass takes a graph and gives another that computes the same, in the order
of :func:`rewritten`.
"""

from __future__ import annotations

from functools import partial

from dqt.nn.graph import Graph
from dqt.nn.passes.drop_unused import drop_unused
from dqt.nn.passes.fold_norms import fold_norms
from dqt.nn.passes.fold_padding import fold_padding
from dqt.nn.passes.fold_scales import fold_scales
from dqt.nn.passes.fuse_activations import fuse_activations
from dqt.nn.passes.merge_moves import merge_moves
from dqt.nn.passes.place_quantizers import place_quantizers
from dqt.nn.passes.scale_codes import scale_codes
from dqt.nn.passes.sink_moves import sink_moves
from dqt.nn.passes.standardize_inputs import standardize_inputs
from dqt.nn.passes.widen_outputs import widen_outputs
from dqt.nn.passes.widen_streams import widen_streams


def rewritten(graph: Graph, *, input_signed: bool) -> Graph:
    """``graph`` after every pass. ``input_signed``: whether the network's inputs have negative values."""
    for each in (
        drop_unused,
        sink_moves,
        merge_moves,
        fold_padding,
        fold_scales,
        partial(standardize_inputs, input_signed=input_signed),
        fold_norms,
        fuse_activations,
        widen_outputs,
        widen_streams,
        fuse_activations,
        scale_codes,
    ):
        graph = each(graph)
    return place_quantizers(graph, input_signed=input_signed)
