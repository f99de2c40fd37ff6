"""What a program takes: the one definition of its inputs, for the interpreter, the native engine and every verb."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from dqt.arith.errors import InputError
from dqt.program.given import Array, Floats, Given
from dqt.program.pixels import fits
from dqt.program.signature import Signature, only_input
from dqt.program.values import State, resized

if TYPE_CHECKING:
    from dqt.program.program import Program

__all__ = ["Floats", "Inputs", "Samples", "as_input", "as_inputs", "inputs_of", "plain", "rows", "states_of"]
Samples: TypeAlias = Mapping[str, Array]
"""Every input by name, or every state: ``[N, *shape]`` each."""


def as_input(x: Any, program: Program) -> Floats:
    """``x`` as float32 ``[N, *input_shape]``, the only input of ``program``; uint8 is pixels, normalized as trained.

    ``x`` is a NumPy array, a tensor of torch (on any device, with or without gradients), what exports DLPack or the
    array interface, or nested lists. Every integer and real float type is taken; what is not uint8 is what the float
    model takes, as it is.

    Raises:
        InputError: another shape or dtype, nothing, a NaN or an infinity; or pixels, where the program does not say
            the mean and std of its pixels; or the program has several inputs.
    """
    return as_inputs(x, program)[only_input(program.inputs).name]


def as_inputs(x: Any, program: Program) -> Samples:
    """Every input of ``program`` by name, checked as :func:`as_input` says; nothing is warned of.

    ``x`` is a mapping by name, a tuple in the order of the inputs, or of a program with one input this input alone.
    """
    return inputs_of(program)(x, warn=False)


class Inputs:
    """The inputs of one program; each warns, once, of samples that lie far outside of what it was calibrated with."""

    def __init__(self, program: Signature) -> None:
        alone = len(program.inputs) == 1
        self.alone = program.inputs[0].name if alone else ""
        self.each = {
            one.name: Given(one, program.entries.get(one.name), program.space.master, program.info, alone=alone)
            for one in program.inputs
        }
        self.dims = {dim.name: dim for dim in program.dims}

    def __call__(self, x: Any, *, warn: bool = True) -> Samples:
        """What a call passes as ``x``, checked: :func:`as_inputs`, and the warning.

        Raises:
            InputError: as :func:`as_input`; or an unknown or a missing name, or batches of different sizes.
        """
        if self.alone and type(x) is np.ndarray:  # the most frequent call, without a detour
            return {self.alone: self.each[self.alone](x, warn=warn)}
        given = self._by_name(x)
        taken = {name: one(given[name], warn=warn) for name, one in self.each.items()}
        counts = {name: len(array) for name, array in taken.items()}
        if len(set(counts.values())) > 1:
            raise InputError(f"batches of different sizes: {_pairs(counts)}; pass as many samples of each input")
        return taken

    def _by_name(self, x: Any) -> Mapping[str, Any]:
        names = list(self.each)
        if not isinstance(x, Mapping):
            if len(names) == 1:
                return {names[0]: x}
            if not isinstance(x, tuple | list) or len(x) != len(names):
                raise InputError(
                    f"this program has the inputs {', '.join(names)}: pass a dict by name, or a tuple of all"
                )
            return dict(zip(names, x, strict=True))
        check_names("input", x, names)
        return x

    def sizes(self, taken: Samples) -> dict[str, int]:
        """The sizes of the named dimensions in these inputs.

        Raises:
            InputError: a dimension has two sizes, or one outside of its range.
        """
        found: dict[str, int] = {}
        if self.dims:
            for name, one in self.each.items():
                self._bind(found, name, zip(one.input.dims, taken[name].shape[1:], strict=False))
        return found

    def _bind(self, found: dict[str, int], name: str, pairs: Iterable[tuple[str, int]]) -> None:
        for dim, size in pairs:
            if not dim:
                continue
            if found.setdefault(dim, size) != size:
                raise InputError(f"dimension {dim} is {size} in input {name}, but {found[dim]} elsewhere in this call")
            least, most = self.dims[dim].least, self.dims[dim].most
            if not least <= size <= most:
                raise InputError(f"dimension {dim} is {size} in input {name}: this program takes {least} to {most}")


def states_of(program: Signature | Program, given: Any, count: int, sizes: Mapping[str, int] | None) -> Samples:
    """The states that a run of ``count`` samples begins with, checked.

    Args:
        given: integers ``[N, *shape]`` of each state by name; ``None``: their start.
        sizes: of named dimensions; ``None``: any.

    Raises:
        InputError: the states are those of another program: other names, shapes or ranges, or of another batch.
    """
    states = {state.name: state for state in program.states}
    if given is None:
        whole = {name: resized(state, sizes or {}) for name, state in states.items()}
        return {name: np.full((count, *each.shape), each.zero, dtype=np.int32) for name, each in whole.items()}
    if not isinstance(given, Mapping):
        raise InputError(f"a state of type {type(given).__name__}: pass what a run of this program gave, or None")
    check_names("state", given, list(states))
    return {name: _state(np.asarray(given[name]), state, count, sizes) for name, state in states.items()}


def _state(array: Array, state: State, count: int, sizes: Mapping[str, int] | None) -> Array:
    where = f"state {state.name}"
    if array.dtype.kind not in "iu":
        raise InputError(f"{where} of dtype {array.dtype}: states are integers, as a run of this program gave")
    pattern = state.pattern if sizes is None else resized(state, sizes).shape
    if not fits((count, *pattern), array.shape):
        raise InputError(f"{where} of shape {list(array.shape)}: this call takes {[count, *pattern]}")
    if array.size and not (state.lo <= array.min() and array.max() <= state.hi):
        raise InputError(f"{where} is not within [{state.lo}, {state.hi}]: it is of another program")
    return array.astype(np.int32)


def check_names(what: str, given: Mapping[str, Any], names: list[str]) -> None:
    """``given`` has these names and no other.

    Raises:
        InputError: it has not; the message lists the names.
    """
    need = f"this program takes {', '.join(names)}" if names else f"this program has no {what}s"
    for words, wrong in (("unknown", set(given) - set(names)), ("missing", set(names) - set(given))):
        if wrong:
            found = ", ".join(sorted(map(str, wrong)))
            raise InputError(f"{words} {what}{'s' if len(wrong) > 1 else ''} {found}: {need}")


def rows(samples: Samples, some: Any) -> dict[str, Array]:
    """Some of the samples of every input."""
    return {name: array[some] for name, array in samples.items()}


def plain(samples: Mapping[str, Any]) -> Any:
    """What a caller passes or gets: the only one of several things by name, or all of them."""
    return next(iter(samples.values())) if len(samples) == 1 else dict(samples)


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} has {count}" for name, count in counts.items())


_INPUTS: WeakKeyDictionary[Program, Inputs] = WeakKeyDictionary()


def inputs_of(program: Program) -> Inputs:
    """The inputs of ``program``, the same object each time."""
    found = _INPUTS.get(program)
    if found is None:
        found = _INPUTS[program] = Inputs(Signature.of(program))
    return found
