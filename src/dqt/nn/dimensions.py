"""Named dimensions of inputs, which may be bound to other sizes: what a user calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqt.nn.errors import UnsupportedError
from dqt.nn.inputs import Inputs

BATCH = "batch"
"""How the first dimension is called; no other may be."""


@dataclass(frozen=True)
class Kind:
    """One named dimension: the smallest and largest size that a user allows, and what every size is a multiple of."""

    least: int | None = None
    most: int | None = None
    factor: int = 1

    @classmethod
    def of(cls, given: Any) -> Kind:
        """Of a name, or of a ``torch.export.Dim``, which may be a multiple of another."""
        if isinstance(given, str):
            return cls()
        root = getattr(given, "root", given)
        factor = int(given.fn(1)) if root is not given else 1
        least, most = getattr(root, "min", None), getattr(root, "max", None)
        low = factor * least if isinstance(least, int) and least > 0 else None
        return cls(low, factor * most if isinstance(most, int) else None, factor)


@dataclass(frozen=True)
class Names:
    """What a user calls the dimensions of the inputs.

    Attributes:
        axes: of each input, dimension after the batch -> name.   kinds: of each name.
    """

    axes: tuple[Mapping[int, str], ...]
    kinds: Mapping[str, Kind]

    @classmethod
    def of(cls, given: Mapping[Any, Any] | None, inputs: Inputs, tensors: Sequence[Tensor]) -> Names:
        """From ``{"x": {2: "height", 3: "width"}}``, whose dimensions are those of the example's tensors.

        Raises:
            UnsupportedError: no such input or dimension, the batch, or a name for two sizes.
        """
        given = given or {}
        if len(inputs.each) == 1 and given and all(isinstance(key, int) for key in given):
            given = {inputs.names[0]: given}
        axes: list[dict[int, str]] = [{} for _ in inputs.each]
        kinds: dict[str, Kind] = {}
        sizes: dict[str, int] = {}
        for name, named in given.items():
            place = inputs.aliases.get(name)
            if place is None:
                raise UnsupportedError(f"dims names the input {name!r}: the model takes {inputs.listed}")
            for axis, kind in named.items():
                at, dim = _axis(name, axis, tensors[place]), _name_of(kind)
                axes[place][at - 1] = dim
                kinds.setdefault(dim, Kind.of(kind))
                size = int(tensors[place].shape[at])
                _check_size(dim, name, sizes.setdefault(dim, size), size)
        return cls(tuple(axes), kinds)

    def spec(self, place: int) -> dict[int, Any]:
        """The named dimensions of an input, as ``torch.export`` takes them."""
        return {axis + 1: self._free(self.kinds[name]) for axis, name in self.axes[place].items()}

    def _free(self, kind: Kind) -> Any:
        """A dimension whose range torch may narrow, to what the model takes."""
        return torch.export.Dim.DYNAMIC(min=kind.least, max=kind.most)

    def said(self, text: str) -> str:
        """An error of torch's that is about these dimensions, in their names; empty: it is about others."""
        found: list[str] = []
        for place, axis in re.findall(r"\['tensors'\]\[(\d+)\]\.size\(\)\[(\d+)\]", text):
            name = self.axes[int(place)].get(int(axis) - 1) if int(axis) else None
            if name is None:
                return ""
            found.append(name)
        if not found:
            return ""
        fixed = re.search(r"specialized it to be a constant \((\d+)\)", text)
        why = f"it works for the size {fixed[1]} alone" if fixed else " ".join(text.split())[:400]
        names = ", ".join(map(repr, dict.fromkeys(found)))
        return f"the model does not accept every size of {names}: {why} (do not name that dimension in dims)"


def _name_of(kind: Any) -> str:
    """A name that a user gave, or that of a ``torch.export.Dim``: of a multiple that of what it is a multiple of."""
    name = kind if isinstance(kind, str) else getattr(getattr(kind, "root", kind), "__name__", "")
    if not name.isidentifier() or name == BATCH:
        raise UnsupportedError(
            f"dims calls a dimension {kind!r}: pass a name, such as 'height', or torch.export.Dim('height', max=512); "
            f"{BATCH!r} is the first dimension"
        )
    return str(name)


def _axis(name: str, axis: Any, tensor: Tensor) -> int:
    if not isinstance(axis, int) or not -tensor.dim() < axis < tensor.dim() or axis % tensor.dim() == 0:
        most = tensor.dim() - 1
        raise UnsupportedError(f"dims names dimension {axis!r} of {name!r}: need 1 to {most}, 0 is the batch")
    return axis % tensor.dim()


def _check_size(dim: str, name: str, first: int, size: int) -> None:
    if size != first:
        raise UnsupportedError(f"dimension {dim!r} is {size} in {name!r} and {first} elsewhere in the example")
    if size < 2:
        raise UnsupportedError(f"dimension {dim!r} of {name!r} is 1 in the example: pass one of 2 or more")
