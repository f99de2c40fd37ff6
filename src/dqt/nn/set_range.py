"""The range of each quantizer of a network, set from the values that it saw, and how layers read that range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from dqt.nn.choose_range import choose_range
from dqt.nn.errors import CalibrationError
from dqt.nn.graph import Node
from dqt.nn.net import Net
from dqt.nn.observers import Extent, Observer, extent_of
from dqt.nn.ops.table import functions_of
from dqt.nn.zeros import readers_of


class Ranges:
    """What sets ranges by an observer.

    Args:
        parts: low widths may read a part of a range; otherwise one range serves all widths.
        zeros: zero points are chosen, too; otherwise they stay.
    """

    def __init__(self, net: Net, observer: Observer, *, parts: bool = True, zeros: bool = True) -> None:
        self._net, self._observer, self._parts, self._zeros = net, observer, parts, zeros
        self._readers, self._functions = readers_of(net), functions_of(net)
        self._exponents: dict[str, Mapping[int, int]] = {}

    def set(self, value: str, values: Sequence[Tensor], *, strays: bool = False) -> Extent:
        """Set the range of a value's quantizer from its batches; ``strays``: of :func:`extent_of`.

        Raises:
            CalibrationError: they are not finite.
        """
        quantizer, readers = self._net.quantizer_of(value), self._readers[self._net.owners[value]]
        shares = quantizer.kind == "unit"  # none of which is an outlier
        extent = extent_of(values, "max" if shares else self._observer, strays=strays)
        if not extent.largest < float("inf"):
            raise CalibrationError(f"the activation {quantizer.name} is not finite on the calibration data")
        readers = replace(readers, parts=readers.parts and self._parts, one_range=not self._parts)
        if not self._zeros and quantizer.kind == "signed":
            readers = replace(readers, fixed=quantizer.zero)
        function = self._functions.get(self._net.owners[value])
        found = choose_range(quantizer, values, extent, self._observer, readers, self._net.config.widths, function)
        quantizer.set_zero(found.zero)
        quantizer.set_range(found.clip, extent.peak)
        self._exponents[quantizer.name] = found.exponents
        return extent

    def read(self, node: Node) -> None:
        """Tell the layer of a node how to read its input, whose range is set."""
        layer, owner = self._net.layer(node.layer), self._net.owners[node.ins[0]]
        found = self._exponents.get(owner, {})
        inputs = tuple(found.get(b, 0) for b in layer.widths)
        layer.read_as(replace(layer.reading, inputs=inputs))
