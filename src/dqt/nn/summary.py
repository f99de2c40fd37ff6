"""What ``dqt.prepare`` made: every layer with its widths, every other operator, what is shared, what does not train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from dqt.nn.graph import Node
from dqt.program.listing import aligned, written_shape, written_widths

if TYPE_CHECKING:
    from dqt.nn.inputs import Input
    from dqt.nn.net import Net

SHOWN = 6
"""Names of one kind in the text; ``Summary`` has all."""
RESULTS = {
    "relu": "codes, ReLU", "unsigned": "codes from 0", "signed": "codes", "unit": "codes of 0 to 1", "same": "codes",
    "int32": "int32",
}  # fmt: skip
"""Kind of a node's quantizer -> what its results are."""


@dataclass(frozen=True)
class LayerSummary:
    """One layer that carries a width.

    Attributes:
        name: as in the model.   kind: of its operator.   weight: shape, () of a product of two activations.
        norm: the batch norm, or the constants, that are folded into its requantization; "" without.
        output: shape without the batch.   result: what its results are.   widths: that it may run at.
        edge: first or last: at ``Config.edge_width`` under a uniform plan.
    """

    name: str
    kind: str
    weight: tuple[int, ...]
    norm: str
    output: tuple[int, ...]
    result: str
    widths: tuple[int, ...]
    edge: bool


@dataclass(frozen=True)
class Summary:
    """A prepared network in words; ``str`` of it is a table.

    Attributes:
        head: one line on the whole.   inputs, outputs: one line each.
        layers: those that carry a width, in order.
        tables: real function -> the values that a table of it gives.
        others: kind of every other operator -> how often it is there. All compute with integers.
        shared: names of each parameter that several modules hold.
        frozen: names of the parameters that do not train.
    """

    head: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[LayerSummary, ...]
    tables: Mapping[str, tuple[str, ...]]
    others: Mapping[str, int]
    shared: tuple[tuple[str, ...], ...]
    frozen: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([self.head, *self.inputs, *self.outputs, "", *self._table(), "", *self._rest()])

    def _table(self) -> list[str]:
        heads = ("layer", "kind", "weights", "norm", "output", "result", "widths")
        rows = [
            (each.name, each.kind, written_shape(each.weight), each.norm, written_shape(each.output), each.result,
             written_widths(each.widths) + "*" * each.edge)
            for each in self.layers
        ]  # fmt: skip
        return [*aligned([heads, *rows], len(heads)), "* first or last: the edge width under a uniform plan"]

    def _rest(self) -> Iterator[str]:
        if self.tables:
            yield "tables: " + ", ".join(f"{name} {len(values)} times" for name, values in self.tables.items())
        if self.others:
            yield "other operators: " + ", ".join(f"{kind} {count}" for kind, count in self.others.items())
        for names in self.shared:
            yield f"shared: {_listed(names)}"
        if self.frozen:
            yield f"do not train: {_listed(self.frozen)}"
        yield "no operator computes in floats between inputs and outputs"


def summary(net: Net) -> Summary:
    """See :class:`Summary`."""
    own = [node for node in net.nodes if not node.controller]
    tables: dict[str, list[str]] = {}
    for node in own:
        if node.kind == "table":
            tables.setdefault(str(node.attrs["function"]), []).append(node.out)
    others = Counter(node.kind for node in own if not (node.layer or node.product or node.kind == "table"))
    return Summary(
        _head(net),
        tuple(f"input {one.name}: {_input(net, one)}" for one in net.inputs.each),
        tuple(f"output {each.name}: {_output(net, each.value)}" for each in net.outputs),
        tuple(_layer(net, node) for node in own if node.layer or node.product),
        {name: tuple(values) for name, values in tables.items()},
        dict(others.most_common()),
        tuple(_shared(net)),
        tuple(name for name, each in net.named_parameters() if not each.requires_grad),
    )


def _head(net: Net) -> str:
    space = net.space
    macs, weights = sum(layer.macs for layer in space.layers), sum(layer.weights for layer in space.layers)
    controller = f", a controller that chooses from {written_widths(space.choices)}" if space.choices else ""
    ranges = "calibrated" if net.calibrated else "not calibrated: its ranges are those of the example"
    return (
        f"{len(space.layers)} layers, {weights:,} weights, {macs:,} MACs, master {space.master} bits, widths "
        f"{written_widths(space.widths)}{controller}; {ranges}"
    )


def _input(net: Net, one: Input) -> str:
    shape = written_shape(one.shape) or "a number"
    if one.kind == "integer":
        return f"integers {shape}, from {one.lo} to {one.hi}"
    made = [node.norm for node in net.nodes if node.kind == "standardize" and one.name in node.ins]
    first = f"multiplied and added to by {_listed(made)}, by channel, before it becomes codes" if made else ""
    itself = "codes" if one.name not in net.floats else ""
    return f"floats {shape}, " + " and ".join(part for part in (itself, first) if part)


def _output(net: Net, value: str) -> str:
    """Whether its last sums reach the outside as they are, or rounded to codes."""
    shape = written_shape(net.shapes[value])
    if net.owners[value] in net._int32:
        return f"{shape}, int32 sums, dequantized once"
    return f"{shape}, codes of {net.space.master} bits: {1 << net.space.master} levels, dequantized once"


def _layer(net: Net, node: Node) -> LayerSummary:
    name = node.layer or node.product
    edge = any(each.edge for each in net.space.layers if each.name == name)
    layer = net.layer(name) if node.layer else None
    weight, widths = (layer.shape, layer.widths) if layer is not None else ((), net.space.widths)
    clamps = ", ReLU" if node.clamps else ""
    return LayerSummary(name, node.kind, weight, node.norm, node.shape, RESULTS[node.quantizer] + clamps, widths, edge)


def _shared(net: Net) -> Iterator[tuple[str, ...]]:
    """Parameters that stand at several places; the clip of a weight goes with the weight."""
    places: dict[int, list[str]] = {}
    for name, parameter in net.named_parameters(remove_duplicate=False):
        if not name.endswith(".clip"):
            places.setdefault(id(parameter), []).append(name)
    yield from (tuple(names) for names in places.values() if len(names) > 1)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


class Summarized(nn.Module):
    """What a network says of itself."""

    def summary(self) -> Summary:
        """Every layer with its widths, every other operator, and what is shared: what ``print(net)`` shows, as data."""
        return summary(cast("Net", self))

    def __str__(self) -> str:
        return str(self.summary())
