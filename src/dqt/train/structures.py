"""Batches and answers of any structure: one tensor, or tensors in dicts, tuples and lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def mapped(function: Callable[[Tensor], Any], structure: Any) -> Any:
    """``structure`` with ``function`` of each of its tensors in the tensor's place; any mapping becomes a dict."""
    if isinstance(structure, Tensor):
        return function(structure)
    if isinstance(structure, Mapping):
        return {name: mapped(function, each) for name, each in structure.items()}
    if isinstance(structure, tuple | list):
        made = [mapped(function, each) for each in structure]
        return type(structure)(*made) if hasattr(structure, "_fields") else type(structure)(made)
    return structure


def tensors(structure: Any) -> Iterator[Tensor]:
    """The tensors of a structure, in order."""
    if isinstance(structure, Tensor):
        yield structure
    elif isinstance(structure, Mapping | tuple | list):
        for each in structure.values() if isinstance(structure, Mapping) else structure:
            yield from tensors(each)


def count(structure: Any) -> int:
    """The number of samples of a batch: the length of its first tensor; 0 where there is none."""
    first = next(tensors(structure), None)
    return 0 if first is None or first.dim() == 0 else len(first)


def moved(structure: Any, device: torch.device | str) -> Any:
    """``structure`` on ``device``."""
    return mapped(lambda each: each.to(device), structure)


def taken(structure: Any, index: Any) -> Any:
    """The samples at ``index`` of every tensor."""
    return mapped(lambda each: each[index], structure)


def detached(structure: Any) -> Any:
    """Without gradient."""
    return mapped(lambda each: each.detach(), structure)


def device_of(structure: Any) -> torch.device:
    """Where the first tensor lies."""
    first = next(tensors(structure), None)
    return torch.device("cpu") if first is None else first.device
