"""The captured network as a list of steps; what prepare makes, Net runs and lower translates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

INPUT = "input"


@dataclass(frozen=True)
class Step:
    """One operator on named values.

    Attributes:
        kind: of its operator, see :mod:`dqt.nn.operator`.
        out: the value it defines; also the name of the value's edge where it has one of its own.
        ins: the values it reads.
        shape: of the result, without the batch.
        layer: name of its :class:`~dqt.nn.layers.WidthLayer`, which is its module path.
        norm: module path of its batch norm.
        edge: ``"relu"``, ``"unsigned"`` or ``"signed"``: the result becomes codes of an edge of its own (see
            :class:`~dqt.nn.ranges.Edge`); ``"same"``: it keeps the codes of its input; ``"wide"``: it stays a wide
            integer.
        cap: upper bound of a fused ReLU.
        attrs: geometry, by kind.
        controller: whether only plan "auto" runs it.
    """

    kind: str
    out: str
    ins: tuple[str, ...]
    shape: tuple[int, ...]
    layer: str = ""
    norm: str = ""
    edge: str = "signed"
    cap: float = float("inf")
    attrs: Mapping[str, Any] = field(default_factory=dict)
    controller: bool = False


@dataclass(frozen=True)
class Structure:
    """What a model returns its one tensor in: a dict, a tuple, a data class that torch.utils._pytree knows.

    Attributes:
        form: the structure with an empty tensor in the tensor's place (data classes may leave out ``None``).
        index: which of its leaves that is.
    """

    form: Any
    index: int

    def around(self, y: Tensor) -> Any:
        """The structure, with ``y`` in its place."""
        leaves, spec = tree_flatten(self.form)
        leaves[self.index] = y
        return tree_unflatten(leaves, spec)


def last_uses(steps: tuple[Step, ...]) -> tuple[tuple[str, ...], ...]:
    """For each step, the values that no later step reads."""
    seen: set[str] = {steps[-1].out}
    dead: list[tuple[str, ...]] = []
    for step in reversed(steps):
        dead.append(tuple(name for name in dict.fromkeys(step.ins) if name not in seen))
        seen.update(step.ins)
    return tuple(reversed(dead))


def needed_for(steps: tuple[Step, ...], values: Iterable[str]) -> set[str]:
    """The values that ``values`` are computed from, with themselves."""
    needed = set(values)
    for step in reversed(steps):
        if step.out in needed:
            needed.update(step.ins)
    return needed
