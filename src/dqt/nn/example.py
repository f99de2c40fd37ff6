"""The example that a model is captured with: its tensors, what they are called, and how forward gets them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dqt.nn.errors import UnsupportedError
from dqt.nn.graph import INPUT
from dqt.nn.inputs import Input, Inputs, aliases_of
from dqt.nn.structure import Path, Structure, dotted, leaves

PLAIN = (type(None), bool, int, float, str)
"""What may stand beside the tensors: it becomes a part of the network."""


@dataclass(frozen=True)
class Example:
    """The tensors of an example, in the order of forward.

    Attributes:
        tensors: detached, ``[N, ...]`` each.
        call: positional and keyword arguments of forward, as a structure.
        inputs: their names and shapes.
    """

    tensors: tuple[Tensor, ...]
    call: Structure
    inputs: Inputs

    @classmethod
    def of(cls, model: nn.Module, given: Any) -> Example:
        """The example that a user gave, checked.

        Raises:
            UnsupportedError: no batch of tensors, or forward does not take it.
        """
        args, kwargs = _arguments(model, given)
        found = [(path, leaf) for path, leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        places = [path for path, leaf in leaves(given) if isinstance(leaf, Tensor)]
        _check_leaves(given, places)
        long = [dotted(_by_parameter(model, path)) for path, _ in found]
        short = _names(model, [path for path, _ in found], lone=not isinstance(given, Mapping))
        tensors = tuple(_detached(name, leaf, len(found)) for name, (_, leaf) in zip(short, found, strict=True))
        _check_batch(short, tensors)
        constants = {dotted(path): leaf for path, leaf in leaves(given) if not isinstance(leaf, Tensor)}
        inputs = tuple(_input(name, tensor) for name, tensor in zip(short, tensors, strict=True))
        aliases = aliases_of(short, long, *_same_order(given, places, [leaf for _, leaf in found]))
        return cls(tensors, Structure.of((args, kwargs)), Inputs(inputs, aliases, constants))

    def arguments(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of forward, with other tensors."""
        args, kwargs = self.call.around(tensors)
        return args, kwargs


def _input(name: str, x: Tensor) -> Input:
    shape = tuple(x.shape[1:]) or (1,)
    if x.is_floating_point():
        return Input(name, shape)
    return Input(name, shape, "integer", 0, int(x.dtype == torch.bool))


def _arguments(model: nn.Module, given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What forward is called with: arguments by name or in order; or all of it as its one argument.

    A tuple of one thing is that thing.
    """
    kind = isinstance(given, Mapping), isinstance(given, tuple | list)
    if not any(kind):
        return (given,), {}
    takes = signature(model)
    ways: list[Any] = [((), dict(given)) if kind[0] else (tuple(given), {}), ((given,), {})]
    for args, kwargs in ways:
        try:
            bound = takes.bind(*args, **kwargs)
        except TypeError:
            continue
        return bound.args, bound.kwargs
    raise UnsupportedError(f"{mismatch(model, given)}: pass a tuple of its arguments in order, or a dict by name")


def mismatch(model: nn.Module, given: Mapping[str, Any] | Sequence[Any]) -> str:
    """What to say where forward does not take the example."""
    found = f"name {', '.join(map(repr, given))}" if isinstance(given, Mapping) else f"are {len(given)} values"
    return f"example_inputs {found}, and the model's forward takes ({', '.join(signature(model).parameters)})"


def signature(model: nn.Module) -> inspect.Signature:
    """Of forward; where a wrapper around it takes anything, that of its class."""
    own = inspect.signature(model.forward)
    if not all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own.parameters.values()):
        return own
    parameters = list(inspect.signature(type(model).forward).parameters.values())
    return inspect.Signature(parameters[1:])


def _by_parameter(model: nn.Module, path: Path) -> Path:
    """``(0, 2, ...)``, the third positional argument, as ``("features", ...)``; keyword arguments by their name."""
    kind, first, *rest = path
    if kind == 1:
        return (first, *rest)
    parameters = list(signature(model).parameters.values())
    for i, each in enumerate(parameters):
        if each.kind is each.VAR_POSITIONAL:
            return (each.name, int(first) - i, *rest)
        if i == first:
            return (each.name, *rest)
    return (INPUT, first, *rest)


def _names(model: nn.Module, paths: Sequence[Path], *, lone: bool) -> list[str]:
    """Names of the inputs; without that of the argument where all lie in one, a dict."""
    named = [_by_parameter(model, path) for path in paths]
    if len(named) == 1 and lone:
        return [INPUT]
    inside = all(len(path) > 1 and isinstance(path[1], str) for path in named)
    if inside and len({path[0] for path in named}) == 1:
        named = [path[1:] for path in named]
    names = [dotted(path) for path in named]
    twice = next((name for name in names if names.count(name) > 1 or not name), None)
    if twice is not None:
        raise UnsupportedError(f"two inputs of the model would be called {twice!r}: rename a key of the example")
    return names


def _same_order(given: Any, places: Sequence[Path], found: Sequence[Tensor]) -> list[list[str]]:
    """Where the inputs were in the example, if they were there in the order of forward's arguments."""
    tensors = [leaf for _, leaf in leaves(given) if isinstance(leaf, Tensor)]
    same = all(a is b for a, b in zip(tensors, found, strict=True))
    return [[dotted(place) for place in places]] if same else []


# checks


def _check_leaves(given: Any, places: Sequence[Path]) -> None:
    array = next((leaf for _, leaf in leaves(given) if isinstance(leaf, np.ndarray | np.generic)), None)
    other = next((leaf for _, leaf in leaves(given) if not isinstance(leaf, (Tensor, *PLAIN))), None)
    if places and array is None and other is None:
        return
    wrong = given if not places or (other is None and array is None) else array if array is not None else other
    advice = ": pass torch.from_numpy(x)" if array is not None else ""
    raise UnsupportedError(
        f"example_inputs are, or hold, a value of type {type(wrong).__name__}; need one float tensor [N, ...], or a "
        f"tuple or dict of the tensors that the model takes{advice}"
    )


def _detached(name: str, example: Tensor, count: int) -> Tensor:
    """One tensor of the example, checked, apart from the user's."""
    wrong = _wrong(example, alone=count == 1)
    if wrong:
        what = "example_inputs" if count == 1 else f"example_inputs[{name!r}]"
        raise UnsupportedError(f"{what} {wrong}")
    return example.detach().clone() if example.is_inference() else example.detach()


def _wrong(x: Tensor, *, alone: bool) -> str:
    """What is wrong with a tensor of an example, or nothing."""
    shape = tuple(x.shape)
    pixels = alone and not x.is_floating_point() and x.dim() > 2
    if x.is_complex() or pixels:
        return f"are {x.dtype}; need floats, as the model takes them: pixels, say, as x.float() / 255"
    if x.dim() < (2 if alone else 1):
        return f"of shape {shape} have no batch dimension: pass x[None], [N, ...]"
    if not x.numel():
        return f"of shape {shape} are empty: pass [N, ...] with one sample or more"
    if x.is_floating_point() and not bool(torch.isfinite(x.float()).all()):
        return "contain NaN or infinity, or a number beyond float32"
    return ""


def _check_batch(names: Sequence[str], tensors: Sequence[Tensor]) -> None:
    lengths = [len(tensor) for tensor in tensors]
    if len(set(lengths)) > 1:
        found = ", ".join(f"{name!r}: {length}" for name, length in zip(names, lengths, strict=True))
        raise UnsupportedError(
            f"the example has different numbers of samples ({found}): the first dimension of every input is the batch"
        )
