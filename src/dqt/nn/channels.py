"""Which channels of a network can be scaled: from the layers and norms that make them to the layers that read them.

Where nothing but layers reads a value, and only positively homogeneous operators (``f(s x) = s f(x)`` for ``s > 0``:
ReLU, pools, joins) stand between, each of its channels may be divided by a factor, which its readers multiply by again.

Every channel of every producer has a number; an array of these numbers, of the shape of one sample, travels through the
network beside the values. Number 0 stands for what cannot be scaled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dqt.nn.graph import Node
from dqt.nn.hooks import is_hooked
from dqt.nn.layers import WidthLayer
from dqt.nn.net import Net
from dqt.nn.operator import operators
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.nn.scales import Scale

SPATIAL = {"max_pool", "avg_pool", "mean"}
"""Homogeneous operators that keep channels apart and change the other dimensions."""
ELEMENTWISE = {"relu", "dropout", "identity"}
HOMOGENEOUS_TABLES = {"leaky_relu", "abs"}


@dataclass
class Channels:
    """The channels that can be scaled.

    Attributes:
        count: of numbers; they are ``1..count - 1``.
        sources: a producer's value -> the numbers of its channels, int64 ``[C]``.
        readers: a layer's value -> the numbers of its input channels, int64 ``[in]``.
        fixed: numbers that turned out to be read by what does not allow it.
    """

    count: int = 1
    sources: dict[str, Tensor] = field(default_factory=dict)
    readers: dict[str, Tensor] = field(default_factory=dict)
    fixed: set[int] = field(default_factory=lambda: {0})

    def fix(self, ids: Tensor) -> None:
        """These cannot be scaled."""
        self.fixed.update(ids.flatten().tolist())

    def new(self, node: Node) -> Tensor:
        """Numbers for the channels of a producer, in the shape of its value."""
        axis = _axis(node)
        own = torch.arange(self.count, self.count + node.shape[axis])
        self.count += len(own)
        self.sources[node.out] = own
        return own.reshape([-1 if d == axis % len(node.shape) else 1 for d in range(len(node.shape))]).expand(
            node.shape
        )

    def free(self, ids: Tensor) -> Tensor:
        """Which of these can be scaled."""
        return torch.tensor([int(i) not in self.fixed for i in ids])


def scalable(net: Net) -> Channels:
    """Follow the channels of ``net`` from producers to readers."""
    found, once = Channels(), _used_once(net)
    values = {one.name: torch.zeros(one.shape, dtype=torch.int64) for one in net.inputs.each}
    outputs = {output.value for output in net.outputs}
    for node in net.nodes:
        ins = [values[name] for name in node.ins]
        if node.layer:
            _read(found, net, node, ins[0], once)
        through = None if node.controller or node.cap != float("inf") else _through(found, net, node, ins)
        if through is None:
            if not node.layer:
                for each in ins:
                    found.fix(each)
            through = found.new(node) if _is_source(net, node, once) else torch.zeros(node.shape, dtype=torch.int64)
        values[node.out] = through
        if node.out in outputs:
            found.fix(through)
        for name in net._dead[net.nodes.index(node)]:
            values.pop(name, None)
    return found


def _axis(node: Node) -> int:
    """Where the channels of a producer or of a reader's input lie in a sample."""
    if node.kind == "standardize":
        return int(node.attrs["axis"])
    return -1 if node.kind in ("linear", "normalize", "requantize") else 0


def _read(found: Channels, net: Net, node: Node, ids: Tensor, once: set[int]) -> None:
    """A layer reads ``ids``: its columns must each belong to one number."""
    rows = ids.movedim(_axis(node), 0).reshape(ids.shape[_axis(node)], -1)
    if node.controller or not _owned(net, node, once) or not bool((rows == rows[:, :1]).all()):
        found.fix(ids)
        return
    found.readers[node.out] = rows[:, 0]


def _through(found: Channels, net: Net, node: Node, ins: list[Tensor]) -> Tensor | None:
    """The numbers of a homogeneous operator's result; ``None`` of any other."""
    if node.kind in ELEMENTWISE or (node.kind == "table" and node.attrs["function"] in HOMOGENEOUS_TABLES):
        return ins[0]
    if node.kind in SPATIAL:
        same = len(node.shape) and ins[0].shape[0] == node.shape[0] and ins[0].dim() > 1
        first = ins[0].reshape(len(ins[0]), -1)[:, :1]
        if not same or not torch.equal(first.expand(len(first), ins[0][0].numel()), ins[0].reshape(len(first), -1)):
            return None
        return first.reshape(-1, *(1 for _ in node.shape[1:])).expand(node.shape)
    if node.kind == "mat_mul":
        return _of_product(found, node, *ins)
    if node.kind == "concat":
        return torch.cat(ins, int(node.attrs["axis"]))
    if operators()[node.kind].moves and len(ins) == 1:
        moved = [Signal(each[None].double(), None, False) for each in ins]
        return net.fake_node(node, moved, Run({}, quantized=False)).raw[0].long()
    return None


def _of_product(found: Channels, node: Node, a: Tensor, b: Tensor) -> Tensor | None:
    """The columns of a product are those of its second operand."""
    rows = b[..., :1, :]
    if a.shape[:-2] != b.shape[:-2] or not torch.equal(rows.expand(b.shape), b):
        return None
    found.fix(a)
    return rows.expand(node.shape)


def _is_source(net: Net, node: Node, once: set[int]) -> bool:
    """Whether a node's channels can be divided by way of its parameters."""
    if node.controller or node.quantizer not in ("relu", "signed", "unsigned") or node.cap != float("inf"):
        return False
    affine = net.affine(node.norm)
    if node.by_feature and affine is None:
        return net.row_affine(node.attrs["module"])[0] is not None and _owned(net, node, once)
    if not node.layer and affine is None:
        return False
    sized = not isinstance(affine, Scale) or len(affine.gain) == len(affine.bias) == node.shape[_axis(node)]
    return sized and _owned(net, node, once)


def _owned(net: Net, node: Node, once: set[int]) -> bool:
    """Whether the parameters are this node's alone, and no hook computes them or looks at what passes."""
    modules: list[nn.Module] = [net.layer(node.layer)] if node.layer else []
    norms = (net.affine(node.norm), net.find(node.attrs["module"]) if node.by_feature else None)
    modules += [norm for norm in norms if norm is not None]
    plain = not any(is_hooked(module) for module in modules)
    weights = all("weight" in m._parameters for m in modules if isinstance(m, WidthLayer))
    return plain and weights and all(id(p) in once for m in modules for p in m.parameters())


def _used_once(net: Net) -> set[int]:
    """Parameters that one module holds."""
    held: Mapping[int, int] = Counter(
        id(p) for module in net.modules() for p in module._parameters.values() if p is not None
    )
    return {key for key, count in held.items() if count == 1}
