"""What is constant at inference: numbers, parameters, buffers, and whatever the model computes from these alone.

A model may compute a constant for each sample of a batch, such as the zeros of a first state or a mask. Such a constant
is computed for a batch of one and for a batch of two; it stands for one sample if all samples have the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

ONE, TWO = 1, 2
SHAPED = ("empty", "full", "ones", "zeros")


class Constants:
    """The constant nodes of an exported graph, computed as they are met.

    Args:
        tensors: placeholder name -> name and value of a parameter, buffer or lifted constant.
        batch: the symbol of the batch size in the shapes of the graph.
        sizes: of named dimensions, by their symbols.
    """

    def __init__(self, tensors: Mapping[str, tuple[str, Tensor]], batch: Any, sizes: Mapping[Any, int]) -> None:
        self.tensors, self.batch, self.sizes = tensors, batch, sizes
        self._folded: dict[fx.Node, dict[int, Any]] = {}
        self._sources: dict[fx.Node, frozenset[str]] = {}

    def of(self, arg: Any) -> Tensor | None:
        """The value of an operand, for a batch of one; ``None``: it depends on the network's input, or is no number and
        no tensor, or differs from one sample to another.
        """
        if isinstance(arg, int | float):
            return torch.tensor(arg, dtype=torch.float64)
        if not isinstance(arg, fx.Node):
            return None
        if arg.name in self.tensors:
            return self.tensors[arg.name][1].detach()
        found = self._folded.get(arg)
        if found is None or not isinstance(found[ONE], Tensor) or not _equal_for_all(found[ONE], found[TWO]):
            return None
        return found[ONE]

    def name(self, arg: Any) -> str | None:
        """The name of a parameter or buffer that is an operand as it stands, else ``None``."""
        return self.tensors[arg.name][0] if isinstance(arg, fx.Node) and arg.name in self.tensors else None

    def sources(self, call: fx.Node) -> frozenset[str]:
        """Names of the parameters and buffers that a constant node is computed from."""
        name = self.name(call)
        return frozenset({name}) if name is not None else self._sources.get(call, frozenset())

    def fold(self, call: fx.Node) -> bool:
        """Compute ``call`` if all that it reads is constant, and keep its value; whether it was so."""
        read = [each for each in call.all_input_nodes if not (each is call.args[0] and _reads_a_shape(call))]
        if call.op != "call_function" or _is_random(call) or not all(map(self.known, read)):
            return False
        if not isinstance(call.meta.get("val"), (Tensor, tuple, list)) or self._is_layer(call):
            return False
        one = self._computed(call, ONE)
        alone = all(map(self._same, call.all_input_nodes))
        self._folded[call] = {ONE: one, TWO: one if alone else self._computed(call, TWO)}
        self._sources[call] = frozenset().union(*(self.sources(each) for each in read))
        return True

    def number(self, arg: Any, samples: int = ONE) -> Any:
        """A number that follows from sizes alone, such as ``x.shape[0] * 4``, for a batch of ``samples``.

        ``None``: it follows from something else.
        """
        held = arg.meta.get("val") if isinstance(arg, fx.Node) else arg
        if not isinstance(held, torch.SymInt | torch.SymFloat | torch.SymBool):
            return held if isinstance(held, int | float) else None
        found = held.node.expr.subs({self.batch: samples, **self.sizes})
        if found.free_symbols:
            return None
        kind = next(
            kind
            for of, kind in ((torch.SymInt, int), (torch.SymFloat, float), (torch.SymBool, bool))
            if isinstance(held, of)
        )
        return kind(found)

    def _computed(self, call: fx.Node, samples: int) -> Any:
        args: Any = fx.map_arg(call.args, lambda each: self.value(each, samples))
        kwargs: Any = fx.map_arg(call.kwargs, lambda each: self.value(each, samples))
        target: Any = call.target
        with torch.no_grad():
            found = target(*args, **kwargs)
        # memory that nobody wrote to holds anything: zeros make two captures of a model equal
        return found.zero_() if "empty" in str(target) else found

    def _is_layer(self, call: fx.Node) -> bool:
        """Whether a call is a layer on a constant of each sample, such as a first state: it is kept as one."""
        if str(call.target) != "aten.linear.default":
            return False
        x, weight = call.all_input_nodes[:2]
        return self.name(weight) is not None and not self._same(x)

    def forget(self, call: fx.Node) -> None:
        """From now on ``call`` is no constant: the model changes it."""
        del self._folded[call]

    def known(self, call: fx.Node) -> bool:
        """Whether a node is constant, if only for a batch of a known size."""
        return call in self._folded or call.name in self.tensors or self.number(call) is not None

    def _same(self, call: fx.Node) -> bool:
        """Whether a node has one value, whatever the batch."""
        if call in self._folded:
            return self._folded[call][ONE] is self._folded[call][TWO]
        return call.name in self.tensors or (self.known(call) and self.number(call, ONE) == self.number(call, TWO))

    def value(self, call: fx.Node, samples: int) -> Any:
        """The value of a known node for a batch of ``samples``, one or two; of another, a tensor of its shape."""
        if call in self._folded:
            return self._folded[call][samples]
        if call.name in self.tensors:
            return self.tensors[call.name][1].detach().clone()  # an in-place operator may change what it reads
        held = call.meta["val"]
        if isinstance(held, Tensor):
            return torch.empty([self.number(d, samples) for d in held.shape], dtype=held.dtype)
        return self.number(call, samples)


def _reads_a_shape(call: fx.Node) -> bool:
    """Whether an operator makes a constant of the shape or the type of its first operand, whatever that holds."""
    name = str(call.target).removeprefix("aten.").split(".")[0]
    return (name.endswith("_like") and name.removesuffix("_like") in SHAPED) or name.removeprefix("new_") in SHAPED


def _is_random(call: fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(call.target, "tags", ())


def _equal_for_all(one: Tensor, two: Tensor) -> bool:
    """Whether ``two`` is ``one`` for each of two samples, which a dimension may count before or after others."""
    if one is two or (one.shape == two.shape and torch.equal(one, two)):
        return True
    longer = [dim for dim, (a, b) in enumerate(zip(one.shape, two.shape, strict=True)) if a != b]
    if len(longer) != 1 or two.shape[longer[0]] != 2 * one.shape[longer[0]]:
        return False
    (dim,) = longer
    length = one.shape[dim]
    for before in (each for each in range(1, length + 1) if length % each == 0):
        samples = two.reshape(*one.shape[:dim], before, 2, length // before, *one.shape[dim + 1 :]).unbind(dim + 1)
        if all(torch.equal(sample.reshape(one.shape), one) for sample in samples):
            return True
    return math.prod(one.shape) == 0
