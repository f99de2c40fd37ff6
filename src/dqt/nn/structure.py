"""Structures of tensors: the dicts, tuples and data classes that a model takes and returns."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

Path: TypeAlias = tuple[str | int, ...]
"""The way to a leaf: keys of mappings, names of fields, positions in sequences."""


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every leaf of a structure with its path, in order: tensors, numbers, strings, ``None``, other objects."""
    parts = _parts(tree)
    if parts is None:
        yield path, tree
        return
    for key, part in zip(parts.keys, parts.values, strict=True):
        yield from leaves(part, (*path, key))


def replaced(tree: Any, values: Iterator[Any]) -> Any:
    """The same structure with other leaves, taken from ``values`` in the order of :func:`leaves`."""
    parts = _parts(tree)
    return next(values) if parts is None else parts.build([replaced(part, values) for part in parts.values])


def dotted(path: Path) -> str:
    """A path as a name: ``boxes.0``."""
    return ".".join(map(str, path))


@dataclass(frozen=True)
class Structure:
    """What a model returns its tensors in.

    Attributes:
        form: the structure, with an empty tensor in the place of each tensor.
    """

    form: Any

    @classmethod
    def of(cls, tree: Any) -> Structure:
        """The structure of a result, without its numbers."""
        return cls(replaced(tree, (torch.empty(0) if isinstance(leaf, Tensor) else leaf for _, leaf in leaves(tree))))

    @property
    def paths(self) -> list[Path]:
        """The path of each tensor."""
        return [path for path, leaf in leaves(self.form) if isinstance(leaf, Tensor)]

    def around(self, tensors: Sequence[Tensor]) -> Any:
        """The structure, with ``tensors`` in it."""
        if isinstance(self.form, Tensor):
            return tensors[0]
        given = iter(tensors)
        return replaced(self.form, (next(given) if isinstance(x, Tensor) else x for _, x in leaves(self.form)))


@dataclass(frozen=True)
class _Parts:
    """What a structure consists of, and how another of its kind is made."""

    keys: list[str | int]
    values: list[Any]
    build: Callable[[list[Any]], Any]


def _parts(tree: Any) -> _Parts | None:
    """``None``: a leaf. Kinds that ``torch.utils._pytree`` knows are taken apart and put together by it."""
    values, spec = tree_flatten(tree, is_leaf=lambda each: each is not tree)
    if not spec.is_leaf():
        return _Parts(_keys(tree, len(values)), values, lambda parts: tree_unflatten(parts, spec))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [each.name for each in dataclasses.fields(tree)]
        return _Parts([*names], [getattr(tree, name) for name in names], lambda parts: _with_fields(tree, names, parts))
    if isinstance(tree, Mapping):  # of a kind that torch does not know, such as UserDict
        names = [*tree]
        return _Parts([*names], [tree[name] for name in names], lambda parts: dict(zip(names, parts, strict=True)))
    return None


def _keys(tree: Any, count: int) -> list[str | int]:
    """How the parts of a structure are called, in the order that torch gives them in."""
    named: list[str | int] = list(tree) if isinstance(tree, Mapping) else list(getattr(tree, "_fields", ()))
    if not named and dataclasses.is_dataclass(tree):
        named = [each.name for each in dataclasses.fields(tree)]
        if len(named) != count:  # a registered one may leave out fields that are None
            named = [name for name in named if getattr(tree, str(name)) is not None]
    return named if len(named) == count else list(range(count))


def _with_fields(tree: Any, names: Sequence[str], parts: Sequence[Any]) -> Any:
    made = copy.copy(tree)
    for name, part in zip(names, parts, strict=True):
        object.__setattr__(made, name, part)  # it may be frozen
    return made
