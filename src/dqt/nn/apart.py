"""Neurons whose weights stick out get layers of their own.

A transformer has a few neurons that fire on one token alone and write hundreds of times what the others do into the
residual stream, so that attention can rest on that token (Sun et al., 2024, "Massive activations in large language
models"). Such a neuron is large twice: as an activation, which has one scale for all channels, and as a column of
weights, whose rows have one scale each. No factor between the two helps, because their product is what is large.

So the layer that makes it and the layer that reads it are cut in two. The part that is set apart has ranges of its own
and runs at the edge width; both parts together are the float function as it was. Weights keep their shape: the rows and
columns that went are 0.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from dqt.nn.capture import Captured
from dqt.nn.graph import Graph, Node

BETWEEN = {"table", "relu", "dropout", "identity"}
"""Operators element by element that may stand between the two layers."""
REACH = 8.0
"""A column sticks out whose largest weight is so many times the usual row's: that row loses three bits."""
FEW = 64
"""At most one channel in so many is set apart: more of them are no exception."""


def set_apart(captured: Captured) -> None:
    """Cut every pair of linear layers between which a few neurons stick out; nothing happens where none does."""
    for reader in captured.graph.nodes:
        chain = _chain(captured, reader) if reader.kind == "linear" and reader.layer else []
        columns = outlying(captured.layers[reader.layer][0]) if chain else []
        if columns:
            _cut(captured, [*chain, reader], columns)


def outlying(weight: Tensor) -> list[int]:
    """The columns of ``weight``, ``[out, in]``, that stick out; none where they are many."""
    sizes = weight.detach().abs()
    usual = sizes.amax(1).median()
    found = (sizes.amax(0) > REACH * usual).nonzero().flatten().tolist() if bool(usual > 0) else []
    return found if len(found) * FEW <= weight.shape[1] else []


def _chain(captured: Captured, reader: Node) -> list[Node]:
    """From the layer that makes what ``reader`` reads to the node before it; empty where it cannot be cut."""
    graph, chain = captured.graph, [reader]
    while True:
        node = graph.producer(chain[0].ins[0])
        if node is None or graph.readers(node.out) != [chain[0]]:
            return []
        chain.insert(0, node)
        if node.kind not in BETWEEN:
            break
    ends = (chain[0], reader)
    plain = node.kind == "linear" and all(_alone(captured, each) for each in ends)
    return chain[:-1] if plain else []


def _alone(captured: Captured, node: Node) -> bool:
    """Whether the parameters of a layer are used here alone, and nothing is fused into it."""
    if not node.layer or node.norm or node.quantizer == "relu":
        return False
    places = [place for each in captured.uses.values() if len({*each}) > 1 for place, _ in each]
    nodes = Counter(each.layer for each in captured.graph.nodes)
    return nodes[node.layer] == 1 and node.layer not in places and captured.layers[node.layer][0].dim() == 2


def _cut(captured: Captured, chain: list[Node], columns: list[int]) -> None:
    """Give the channels ``columns`` between the ends of ``chain`` a path of their own."""
    first, last, taken = chain[0], chain[-1], set(captured.shapes)
    of_first, of_last = (f"{node.layer}.apart" for node in (first, last))
    _move_rows(captured, first.layer, of_first, columns)
    _move_columns(captured, last.layer, of_last, columns)
    own: dict[str, Node] = {}
    x = first.ins[0]
    for node in chain:
        shape = node.shape if node is last else (*node.shape[:-1], len(columns))
        layer = of_first if node is first else of_last if node is last else ""
        out = _fresh(f"{node.out}.apart", taken)
        own[node.out] = replace(node, out=out, ins=(x,), shape=shape, layer=layer, apart=bool(layer))
        x = out
    total = Node("add", _fresh(f"{last.out}.whole", taken), (last.out, x), last.shape)
    captured.graph = _inserted(captured.graph, own, last, total)
    captured.shapes |= {node.out: node.shape for node in (*own.values(), total)}


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _move_rows(captured: Captured, path: str, to: str, rows: list[int]) -> None:
    """The weights that make the channels ``rows``, with their biases."""
    weight, bias = captured.layers[path]
    captured.layers[to] = (weight[rows].clone(), None if bias is None else bias[rows].clone())
    rest = None if bias is None else bias.index_fill(0, torch.tensor(rows, device=bias.device), 0.0)
    captured.layers[path] = (weight.index_fill(0, torch.tensor(rows, device=weight.device), 0.0), rest)
    captured.frozen |= {f"{to}.{leaf}" for leaf in ("weight", "bias") if f"{path}.{leaf}" in captured.frozen}


def _move_columns(captured: Captured, path: str, to: str, columns: list[int]) -> None:
    """The weights that read the channels ``columns``; the bias stays."""
    weight, bias = captured.layers[path]
    captured.layers[to] = (weight[:, columns].clone(), None)
    captured.layers[path] = (weight.index_fill(1, torch.tensor(columns, device=weight.device), 0.0), bias)
    captured.frozen |= {f"{to}.weight"} & {name.replace(path, to, 1) for name in captured.frozen}


def _inserted(graph: Graph, own: dict[str, Node], last: Node, total: Node) -> Graph:
    """``graph`` with a node of its own before each of a chain, and the sum of both parts behind it.

    Before, because the last layer of a network is that which is whole.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        named = tuple(total.out if name == last.out else name for name in node.ins)
        nodes += [own[node.out]] if node.out in own else []
        nodes.append(replace(node, ins=named))
        nodes += [total] if node.out == last.out else []
    outputs = tuple(total.out if name == last.out else name for name in graph.outputs)
    return replace(graph, nodes=tuple(nodes), outputs=outputs)
