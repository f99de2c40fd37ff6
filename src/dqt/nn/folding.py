"""What is constant at inference: numbers, parameters, buffers, and whatever the model computes from these alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx


class Constants:
    """The constant nodes of an exported graph, computed as they are met.

    Args:
        tensors: placeholder name -> name and value of a parameter, buffer or lifted constant.
    """

    def __init__(self, tensors: Mapping[str, tuple[str, Tensor]]) -> None:
        self.tensors = tensors
        self._folded: dict[fx.Node, Any] = {}
        self._sources: dict[fx.Node, frozenset[str]] = {}

    def of(self, arg: Any) -> Tensor | None:
        """The value of an operand, ``None`` if it depends on the network's input or is no number and no tensor."""
        if isinstance(arg, int | float):
            return torch.tensor(arg, dtype=torch.float64)
        if not isinstance(arg, fx.Node):
            return None
        if arg.name in self.tensors:
            return self.tensors[arg.name][1].detach()
        value = self._folded.get(arg)
        return value if isinstance(value, Tensor) else None

    def name(self, arg: Any) -> str | None:
        """The name of a parameter or buffer that is an operand as it stands, else ``None``."""
        return self.tensors[arg.name][0] if isinstance(arg, fx.Node) and arg.name in self.tensors else None

    def sources(self, call: fx.Node) -> frozenset[str]:
        """Names of the parameters and buffers that a constant node is computed from."""
        name = self.name(call)
        return frozenset({name}) if name is not None else self._sources.get(call, frozenset())

    def fold(self, call: fx.Node) -> bool:
        """Compute ``node`` if all that it reads is constant, and keep its value; whether it was so."""
        if call.op != "call_function" or not all(self._known(each) for each in call.all_input_nodes):
            return False
        numbers = [each for each in (*call.args, *call.kwargs.values()) if isinstance(each, torch.SymInt)]
        if numbers or not isinstance(call.meta.get("val"), (Tensor, tuple, list)):
            return False
        args: Any = fx.map_arg(call.args, self._value)
        kwargs: Any = fx.map_arg(call.kwargs, self._value)
        target: Any = call.target
        with torch.no_grad():
            self._folded[call] = target(*args, **kwargs)
        self._sources[call] = frozenset().union(*(self.sources(each) for each in call.all_input_nodes))
        return True

    def _known(self, call: fx.Node) -> bool:
        return call in self._folded or call.name in self.tensors

    def _value(self, call: fx.Node) -> Any:
        if call in self._folded:
            return self._folded[call]
        return self.tensors[call.name][1].detach().clone()  # an in-place operator may change what it reads
