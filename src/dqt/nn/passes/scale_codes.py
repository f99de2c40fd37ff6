"""Codes of a norm whose own result stays int32 get a factor for each feature.

A residual stream keeps the norm's result as it is; the layers that read codes of it want their channels of one size.
Calibration sets the factors (:mod:`dqt.nn.equalize`), which cost nothing: the norm's constants have them.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dqt.nn.graph import Graph, norm_of
from dqt.nn.scales import ScaleSpec


def scale_codes(graph: Graph) -> Graph:
    """Factors of 1 for all codes of norms by feature."""
    for node in [each for each in graph.nodes if each.kind == "requantize"]:
        norm = norm_of(graph.nodes, node)
        if norm is not None and norm.by_feature:
            name, features = f"{node.out}.factors", norm.shape[-1]
            graph = graph.with_node(node, replace(node, norm=name))
            graph = graph.with_scale(name, ScaleSpec(torch.ones(features), torch.zeros(features)))
    return graph
