"""The types of a program's parts, read from the annotations of their dataclasses: one table for verifier and file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np

from dqt.arith.bounds import INT64
from dqt.program.errors import ProgramError

MAX_NAME = 512
OPTIONAL = "may be empty"
"""Marks text that may be empty, as ``Annotated[str, OPTIONAL]``; all other text is a name."""
MAX_DEPTH = 32
MAX_DIM = 2**24
MAX_ELEMENTS = 2**31 - 1
"""No dimension is above ``MAX_DIM`` and no tensor above ``MAX_ELEMENTS`` elements: nothing absurd is ever allocated."""


@cache
def field_types(cls: Any) -> Mapping[str, Any]:
    """Field name -> type of a dataclass, in order."""
    hints = get_type_hints(cls, include_extras=True)
    return {item.name: hints[item.name] for item in fields(cls)}


def array_dtype(hint: Any) -> np.dtype[Any] | None:
    """The dtype of an array annotation, ``None`` for every other annotation."""
    return np.dtype(get_args(get_args(hint)[1])[0]) if get_origin(hint) is np.ndarray else None


def tuple_items(hint: Any, length: int, where: str) -> tuple[Any, ...]:
    """The types of the ``length`` items of a tuple annotation.

    Raises:
        ProgramError: the annotation asks for another length.
    """
    items = get_args(hint)
    if items[-1] is Ellipsis:
        return (items[0],) * length
    if len(items) != length:
        raise ProgramError(f"{where}: {length} items, need {len(items)}")
    return tuple(items)


def check_type(value: Any, hint: Any, where: str) -> None:
    """Check that ``value`` is exactly of the annotated type, all the way down.

    Raises:
        ProgramError: a wrong type, a number that is not finite or not within 64 bits, a name that is not printable.
    """
    if (dtype := array_dtype(hint)) is not None:
        if not isinstance(value, np.ndarray) or value.dtype != dtype:
            raise ProgramError(f"{where}: {_type_of(value)}, need an array of {dtype}")
    elif get_origin(hint) is tuple:
        if type(value) is not tuple:
            raise ProgramError(f"{where}: {_type_of(value)}, need a tuple")
        for i, (item, kind) in enumerate(zip(value, tuple_items(hint, len(value), where), strict=True)):
            check_type(item, kind, f"{where}[{i}]")
    elif is_dataclass(hint) and isinstance(hint, type):
        _check_fields(value, hint, where)
    else:
        check_scalar(value, hint, where)


def _check_fields(value: Any, cls: Any, where: str) -> None:
    types = field_types(cls)
    if type(value) is not cls:
        raise ProgramError(f"{where}: {_type_of(value)}, need a {cls.__name__}")
    for name, kind in types.items():
        check_type(getattr(value, name), kind, f"{where}.{name}")


def check_scalar(value: Any, hint: Any, where: str) -> None:
    """Check a ``str``, ``bool``, ``int`` or ``float``; see :func:`check_type`."""
    optional = get_origin(hint) is Annotated
    hint = get_args(hint)[0] if optional else hint
    if type(value) is not hint:
        raise ProgramError(f"{where}: {_type_of(value)}, need {hint.__name__}")
    if hint is int and not -INT64 - 1 <= value <= INT64:
        raise ProgramError(f"{where}: an integer beyond 64 bits")
    if hint is float and not np.isfinite(value):
        raise ProgramError(f"{where}: {value}, need a finite number")
    if hint is str and not (len(value) <= MAX_NAME and value.isprintable() and (value or optional)):
        raise ProgramError(f"{where}: need a name of 1 to {MAX_NAME} printable characters")


def check_json(value: Any, where: str, depth: int = MAX_DEPTH) -> None:
    """Check that ``value`` is plain JSON: text, finite numbers, booleans, ``None``, and lists and mappings of these.

    Raises:
        ProgramError: it is not, or is nested deeper than ``depth``.
    """
    if depth < 0:
        raise ProgramError(f"{where}: nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        if not all(type(key) is str for key in value):
            raise ProgramError(f"{where}: a key is not text")
        for key, item in value.items():
            check_json(item, f"{where}.{key}", depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            check_json(item, where, depth - 1)
    elif not (value is None or type(value) in {str, int, bool} or (type(value) is float and np.isfinite(value))):
        raise ProgramError(f"{where}: {_type_of(value)}, need plain JSON: text, finite numbers, lists, mappings")


def check_shape(shape: tuple[int, ...], where: str) -> None:
    """Check that a shape can be allocated.

    Raises:
        ProgramError: no dimension, one outside ``[1, MAX_DIM]``, or more than ``MAX_ELEMENTS`` elements.
    """
    if not shape or not all(1 <= d <= MAX_DIM for d in shape):
        raise ProgramError(f"{where}: shape {shape}, need dimensions in [1, {MAX_DIM}]")
    if size(shape) > MAX_ELEMENTS:
        raise ProgramError(f"{where}: shape {shape} has {size(shape)} elements, the most is {MAX_ELEMENTS}")


def size(shape: tuple[int, ...]) -> int:
    """Elements of a shape, in Python integers: it cannot overflow."""
    total = 1
    for d in shape:
        total *= d
    return total


def _type_of(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    return f"a value of type {type(value).__name__}"
