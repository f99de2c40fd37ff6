"""What a program keeps for people, frozen all the way down, yet ordinary JSON to whoever reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn


def frozen(value: Any) -> Any:
    """A copy of a JSON value that nothing can change: mappings and lists of their own, which refuse every edit."""
    if isinstance(value, Mapping):
        return FrozenDict({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list):
        return FrozenList(frozen(item) for item in value)
    return tuple(frozen(item) for item in value) if isinstance(value, tuple) else value


def thawed(value: Any) -> Any:
    """An ordinary copy of a frozen value, to edit."""
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thawed(item) for item in value]
    return tuple(thawed(item) for item in value) if isinstance(value, tuple) else value


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - stands in for methods of any arguments
    raise TypeError("a program's info cannot be changed: edit copy.deepcopy(program.info) and make a program with that")


class FrozenDict(dict[str, Any]):
    """A dict that equals, prints and serializes as every dict, and refuses edits; its copies are ordinary dicts."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def copy(self) -> dict[str, Any]:
        """An ordinary dict of the same items."""
        return dict(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return dict(thawed(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (thawed(self),)


class FrozenList(list[Any]):
    """A list that equals, prints and serializes as every list, and refuses edits; its copies are ordinary lists."""

    __slots__ = ()

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)

    def copy(self) -> list[Any]:
        """An ordinary list of the same items."""
        return list(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return list(thawed(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (thawed(self),)
