"""What a prepared network takes: its inputs by name, and the tensors of a call or of a batch in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from dqt.arith.bounds import INT32
from dqt.arith.errors import InputError
from dqt.arith.plan import PlanLike
from dqt.nn.structure import dotted, leaves
from dqt.program.values import Dimension


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: as forward calls it; the only one is called ``input``, unless it was given by name.
        shape: of one sample, as in the example; of one number a sample ``(1,)``.
        kind: floats, which are quantized, or integers in ``[lo, hi]``.
        dims: the name of each dimension of ``shape`` that may have another size, "" of the others; () of none.
    """

    name: str
    shape: tuple[int, ...]
    kind: Literal["float", "integer"] = "float"
    lo: int = 0
    hi: int = 0
    dims: tuple[str, ...] = ()

    @property
    def named(self) -> list[tuple[int, str]]:
        """The dimensions after the batch that have a name."""
        return [(axis, name) for axis, name in enumerate(self.dims) if name]

    def at(self, sizes: Mapping[str, int]) -> Input:
        """With other sizes of named dimensions."""
        dims = self.dims or ("",) * len(self.shape)
        return replace(self, shape=tuple(sizes.get(name, d) for name, d in zip(dims, self.shape, strict=True)))

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            have == need or (self.dims and self.dims[axis])
            for axis, (have, need) in enumerate(zip(shape, self.shape, strict=True))
        )

    def as_value(self, x: Any) -> Any:
        """``x``, of which one number a sample may come as ``[N]``, the model's own form."""
        return x[:, None] if self.shape == (1,) and isinstance(x, Tensor) and x.dim() == 1 else x

    def check(self, x: Any, *, alone: bool) -> None:
        """Raise :class:`InputError` unless ``x`` is a tensor ``[N, *shape]`` of this kind, N >= 1.

        ``alone``: the network has no other input, so messages need not name this one.
        """
        what = "input" if alone else f"input {self.name!r}"
        floats = isinstance(x, Tensor) and x.is_floating_point()
        if not isinstance(x, Tensor) or x.is_complex() or floats != (self.kind == "float"):
            kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
            need = "a floating-point tensor" if self.kind == "float" else "a tensor of integers"
            raise InputError(f"{what} of type {kind}: need {need}, as the float model took it")
        if not self._fits(tuple(x.shape[1:])) or x.dim() != len(self.shape) + 1 or x.shape[0] == 0:
            lacks = ": it has no batch dimension, pass x[None]" if self._fits(tuple(x.shape)) else ""
            names = self.dims or ("",) * len(self.shape)
            need = ", ".join(["N", *(name or str(d) for name, d in zip(names, self.shape, strict=True))])
            raise InputError(f"{what} of shape {tuple(x.shape)}: this network takes ({need}), N >= 1{lacks}")

    def check_values(self, x: Tensor) -> None:
        """Raise :class:`InputError` unless integers ``x`` lie in ``[lo, hi]``."""
        low, high = (int(v) for v in x.aminmax())
        if self.kind == "integer" and not self.lo <= low <= high <= self.hi:
            raise InputError(f"input {self.name!r} holds {low} to {high}: this network takes {self.lo} to {self.hi}")


@dataclass(frozen=True)
class Inputs:
    """The inputs of a network, in the order of forward.

    Attributes:
        each: one by one.
        aliases: how a call may name each, beside its name: where it was in the example.
        constants: what stood in the example beside the tensors (``None``, flags), by the name of its place.
        dims: the dimensions that may have other sizes than in the example, by name.
    """

    each: tuple[Input, ...]
    aliases: Mapping[str, int]
    constants: Mapping[str, Any]
    dims: Mapping[str, Dimension] = field(default_factory=dict)

    def sizes(self, given: Sequence[Tensor]) -> dict[str, int]:
        """The size of each named dimension in the tensors of a call.

        Raises:
            InputError: one has two sizes, or one outside of its range.
        """
        found: dict[str, int] = {}
        for one, tensor in zip(self.each, given, strict=True):
            for axis, name in one.named:
                size, dim = int(tensor.shape[axis + 1]), self.dims[name]
                if found.setdefault(name, size) != size:
                    raise InputError(f"dimension {name!r} is {size} in {one.name!r} and {found[name]} elsewhere")
                if not dim.least <= size <= dim.most:
                    raise InputError(f"dimension {name!r} is {size}: this network takes {dim.least} to {dim.most}")
        return found

    def at(self, sizes: Mapping[str, int]) -> Inputs:
        """With other sizes of named dimensions."""
        return replace(self, each=tuple(one.at(sizes) for one in self.each))

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(one.name for one in self.each)

    @property
    def listed(self) -> str:
        """Their names, for messages."""
        return ", ".join(map(repr, self.names))

    @property
    def only(self) -> Input:
        """The only input.

        Raises:
            InputError: there are several.
        """
        if len(self.each) > 1:
            raise InputError(f"the network has {len(self.each)} inputs ({self.listed}), where one is needed")
        return self.each[0]

    def called(self, given: tuple[Any, ...], plan: PlanLike, named: Mapping[str, Any]) -> tuple[Any, PlanLike]:
        """What a call passes, as one value, and the plan, which may stand behind the inputs.

        Raises:
            InputError: no input, one both by position and by name, or two plans.
        """
        if len(given) > 1 and not isinstance(given[-1], Tensor | tuple | list):
            if plan is not None:
                raise InputError(f"two plans: {given[-1]!r} behind the inputs and plan={plan!r}")
            given, plan = given[:-1], given[-1]
        if not given and [*named] == ["x"] and "x" not in self.aliases:
            given, named = (named["x"],), {}
        if not named:
            if not given or given[0] is None:
                raise InputError(f"no input: this network takes {self.listed}")
            return given[0] if len(given) == 1 else given, plan
        twice = [name for name in named if self.aliases.get(name, len(given)) < len(given)]
        if twice or len(given) > len(self.each):
            what = f"{twice[0]!r} by position and by name" if twice else f"{len(given)} inputs by position"
            raise InputError(f"{what}: this network takes {self.listed}")
        return {**dict(zip(self.names, given, strict=False)), **named}, plan

    def take(self, x: Any) -> tuple[Tensor, ...]:
        """The tensors of a call in order, checked.

        Args:
            x: a tensor for the only input; or a dict by name, a tuple in order, or the structure of the example.

        Raises:
            InputError: an unknown or missing name, another count, type or shape, or batches of different lengths.
        """
        given = (x,) if len(self.each) == 1 and isinstance(x, Tensor) else self._ordered(x)
        given = tuple(one.as_value(tensor) for one, tensor in zip(self.each, given, strict=True))
        for one, tensor in zip(self.each, given, strict=True):
            one.check(tensor, alone=len(self.each) == 1)
        lengths = {len(tensor) for tensor in given}
        if len(lengths) > 1:
            found = ", ".join(f"{name!r}: {len(t)}" for name, t in zip(self.names, given, strict=True))
            raise InputError(f"inputs with different numbers of samples ({found}): the first dimension is the batch")
        if self.dims:
            self.sizes(given)
        return given

    def _ordered(self, x: Any) -> tuple[Any, ...]:
        if len(self.each) == 1 and not isinstance(x, Mapping | tuple | list):
            return (x,)
        if len(self.each) > 1 and isinstance(x, Tensor):
            raise InputError(f"one tensor for {len(self.each)} inputs: pass a dict by name ({self.listed})")
        named = {dotted(path): leaf for path, leaf in leaves(x)}
        found = {self.aliases[name]: leaf for name, leaf in named.items() if name in self.aliases}
        unknown = {name: leaf for name, leaf in named.items() if name not in self.aliases}
        tensors = [leaf for leaf in named.values() if isinstance(leaf, Tensor)]
        if len(found) < len(self.each) and not isinstance(x, Mapping):
            if len(tensors) == len(self.each):
                return tuple(tensors)
            if not tensors:  # arrays, numbers: the check of types says so
                return tuple(x) if len(x) == len(self.each) > 1 else (x,) * len(self.each)
        self._check_names(found, unknown)
        return tuple(found[i] for i in range(len(self.each)))

    def _check_names(self, found: Iterable[int], unknown: Mapping[str, Any]) -> None:
        wrong = [name for name, leaf in unknown.items() if isinstance(leaf, Tensor) or name not in self.constants]
        if wrong:
            raise InputError(f"unknown input {wrong[0]!r}: this network takes {self.listed}")
        for name, leaf in unknown.items():
            if leaf is not self.constants[name] and leaf != self.constants[name]:
                raise InputError(
                    f"{name} is {leaf!r}: the network was prepared with {self.constants[name]!r}, which is a part of it"
                )
        missing = [name for i, name in enumerate(self.names) if i not in set(found)]
        if missing:
            raise InputError(f"the input {missing[0]!r} is missing: this network takes {self.listed}")

    def of_batch(self, batch: Any) -> Any:
        """The inputs of a batch of data: of inputs alone, of a pair (inputs, labels), or of a dict with more in it."""
        if isinstance(batch, Mapping):
            known = {name: batch[name] for name in batch if name in self.aliases}
            return known or batch
        if not isinstance(batch, tuple | list) or not batch:
            return batch
        if len(self.each) == 1 or isinstance(batch[0], Mapping | tuple | list):
            return batch[0] if not isinstance(batch[0], Mapping) else self.of_batch(batch[0])
        return batch[: len(self.each)]


def bounded(inputs: Inputs, most: Mapping[str, int]) -> Inputs:
    """The inputs, with what is known of their integers: ``[0, most]`` by name; any int32 elsewhere."""
    made = []
    for one in inputs.each:
        limits = (0, most[one.name]) if one.name in most else (-INT32, INT32)
        made.append(replace(one, lo=limits[0], hi=limits[1]) if one.kind == "integer" and not one.hi else one)
    return replace(inputs, each=tuple(made))


def aliases_of(names: Sequence[str], *others: Sequence[str]) -> dict[str, int]:
    """Every way to name each input, where it can be told from all others."""
    found: dict[str, int] = {name: i for i, name in enumerate(names)}
    for places in others:
        for i, place in enumerate(places):
            found.setdefault(place, i)
    return found
