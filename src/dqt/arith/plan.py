"""Which width each layer takes: plans, the space they live in, and what a caller may pass for one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from dqt.arith.cascade import Cascade
from dqt.arith.documents import CASCADE, PLAN, document, parsed, read_document, written
from dqt.arith.errors import PlanError
from dqt.arith.files import write_file
from dqt.arith.nested import shift_of
from dqt.arith.whole import index, whole

__all__ = ["AUTO", "Layer", "Pair", "Plan", "PlanError", "PlanLike", "Space", "load_plan", "resolve", "uniform"]

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One layer that carries a width. Counts are per sample.

    ``edge`` marks the first and the last layer, which stay at ``Space.edge_width`` under a uniform plan.
    """

    name: str
    macs: int
    weights: int
    inputs: int
    outputs: int
    edge: bool = False


@dataclass(frozen=True)
class Space:
    """Every plan that a network accepts: its layers in order, and the widths they may take.

    ``widths`` is ascending and contains ``master``; ``controller`` are the layers of the controller itself, which
    always run at the master width; ``choices`` the widths it chooses from (empty: no controller). ``packed`` is, in a
    packed program, the widest width that its weights hold (those of edge layers hold ``edge_width``, too); otherwise 0.
    """

    master: int
    widths: tuple[int, ...]
    edge_width: int
    layers: tuple[Layer, ...]
    controller: tuple[Layer, ...] = ()
    choices: tuple[int, ...] = ()
    packed: int = 0

    def __post_init__(self) -> None:
        if not self.widths or tuple(sorted(set(self.widths))) != self.widths:
            raise PlanError(f"widths {self.widths}: need an ascending tuple without repeats, such as (2, 4, 8)")
        for b in self.widths:
            shift_of(self.master, b)
        if not set(self.choices) <= set(self.widths):
            raise PlanError(f"the controller's choices {self.choices} are not all among the widths {self.widths}")
        for name, b in (("master", self.master), ("edge_width", self.edge_width)):
            if b not in self.widths:
                raise PlanError(f"{name} {b} is not among the widths {self.widths}: add it to the configuration")
        if self.packed and (self.packed not in self.widths or self.packed == self.master):
            raise PlanError(f"packed to {self.packed} bits: need one of the widths {self.widths} below the master")
        if len({layer.name for layer in self.layers}) != len(self.layers):
            raise PlanError("two layers share a name")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers that carry a width, in order."""
        return tuple(layer.name for layer in self.layers)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the layers whose widths the controller chooses: all but the edges."""
        return tuple(layer.name for layer in self.layers if not layer.edge)

    @property
    def widest(self) -> int:
        """The widest uniform width: the master, or what the program is packed to."""
        return self.packed or self.master

    @property
    def held(self) -> tuple[int, ...]:
        """The uniform widths that the weights hold: all, but in a packed program."""
        return tuple(b for b in self.widths if b <= self.widest)

    @property
    def automatic(self) -> bool:
        """Whether the plan "auto" runs: there is a controller, and the weights hold all widths that it chooses from."""
        return bool(self.choices) and self.choices[-1] <= self.widest

    def widest_of(self, layer: Layer) -> int:
        """The widest width that the weights of a layer hold; the master where it has none."""
        if not self.packed or not layer.weights:
            return self.master
        return max(self.packed, self.edge_width) if layer.edge else self.packed


@dataclass(frozen=True)
class Plan(Mapping[str, Pair]):
    """Layer name -> (weight width, activation width); frozen, hashable, checked against a :class:`Space` on use."""

    items_: tuple[tuple[str, Pair], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.items_, tuple):
            raise PlanError(f"dqt.Plan.of({{name: width, ...}}) makes a plan, not dqt.Plan({self.items_!r:.40})")

    @classmethod
    def of(cls, widths: Mapping[str, int | Sequence[int]]) -> Plan:
        """A plan from ``{name: b}`` or ``{name: (bw, ba)}``.

        Raises:
            PlanError: a value is neither an integer nor a pair of integers, or ``widths`` is no mapping.
        """
        if not isinstance(widths, Mapping):
            raise PlanError(f"a plan is made of a mapping, layer name -> width, not of {widths!r:.40}")
        return cls(tuple((str(name), _pair(str(name), value)) for name, value in widths.items()))

    def __getitem__(self, name: str) -> Pair:
        for key, pair in self.items_:
            if key == name:
                return pair
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items_)

    def __len__(self) -> int:
        return len(self.items_)

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` reads it back."""
        return written(PLAN, layers={name: list(pair) for name, pair in self.items_})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan of :meth:`to_json`.

        Raises:
            PlanError: not JSON, another format or version, or values that are not widths.
        """
        data = document(text, PLAN)
        if not isinstance(data.get("layers"), dict):
            raise PlanError('a plan needs "layers": an object of layer name -> [weight width, activation width]')
        return cls.of(data["layers"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, whole or not at all.

        Raises:
            OSError: it cannot be written, see :func:`dqt.arith.files.write_file`.
        """
        write_file(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan that :meth:`save` wrote.

        Raises:
            PlanError: see :meth:`from_json`. OSError: it cannot be read.
        """
        return read_document(path, cls.from_json)


def load_plan(path: str | os.PathLike[str]) -> Plan | Cascade:
    """Read what :meth:`Plan.save` or :meth:`Cascade.save` wrote, whichever it is.

    Raises:
        PlanError: neither of them, or one that is damaged. OSError: it cannot be read.
    """
    return read_document(path, _either)


PlanLike: TypeAlias = int | Mapping[str, Any] | Plan | Cascade | Literal["auto"] | None
"""What a caller may pass as ``plan``."""
AUTO: Literal["auto"] = "auto"


def uniform(space: Space, b: int) -> Plan:
    """Every layer at ``b`` bits, the first and last at ``space.edge_width``.

    Raises:
        PlanError: ``b`` is not one of ``space.widths``, or the program is packed to fewer bits.
    """
    _check_held(space, b, space.widest, "the plan")
    width = {layer.name: space.edge_width if layer.edge else b for layer in space.layers}
    return Plan.of(width)


def resolve(space: Space, plan: PlanLike) -> Plan | Cascade | Literal["auto"]:
    """What ``plan`` means for this network: a checked :class:`Plan` in layer order, a cascade, or ``"auto"``.

    ``None`` is the widest uniform width.

    Raises:
        PlanError: a width outside ``space.widths``, or above those that a packed program holds, a layer that is unknown
            or missing, ``"auto"`` without a controller, or a value of another type.
    """
    if plan is None:
        return uniform(space, space.widest)
    if isinstance(plan, str):
        if plan != AUTO:
            raise PlanError(f'plan {plan!r}: the only plan that is a word is "auto"')
        if not space.choices:
            raise PlanError('plan "auto" needs a controller: prepare the network with Config(controller=Controller())')
        _check_held(space, space.choices[-1], space.widest, "the controller's choices")
        return AUTO
    if isinstance(plan, Cascade):
        for b in plan.widths:
            _check_held(space, b, space.widest, "the cascade")
        return plan
    if isinstance(plan, Mapping):
        return _checked(space, plan if isinstance(plan, Plan) else Plan.of(plan))
    width = index(plan)
    if width is None:
        raise PlanError(f'plan of type {type(plan).__name__}: pass a width, a mapping, a dqt.Plan, a Cascade or "auto"')
    return uniform(space, width)


def _checked(space: Space, plan: Plan) -> Plan:
    known = set(space.names)
    given = dict(plan.items_)
    unknown = [name for name in given if name not in known]
    missing = [name for name in space.names if name not in given]
    if unknown:
        raise PlanError(f"the plan names {_some(unknown)}, which this network does not have; see its .layers")
    if missing:
        raise PlanError(f"the plan misses {_some(missing)}: a plan gives a width to every layer")
    for layer in space.layers:
        weights, activations = given[layer.name]
        _check_held(space, weights, space.widest_of(layer), f"layer {layer.name}")
        _check_width(space, activations, f"layer {layer.name}")
    return Plan(tuple((name, given[name]) for name in space.names))


def _check_width(space: Space, b: int, where: str) -> None:
    if b not in space.widths:
        raise PlanError(f"width {b} of {where} is not one of the network's widths {space.widths}")


def _check_held(space: Space, b: int, widest: int, where: str) -> None:
    """A width of weights: one of the network's, and not above the widest that they hold."""
    _check_width(space, b, where)
    if b > widest:
        raise PlanError(
            f"width {b} of {where}: this program is packed to {space.packed} bits and holds {widest} there; add bits "
            "with dqt.upgrade, or load the file that was packed"
        )


def _either(text: str) -> Plan | Cascade:
    found = parsed(text, "a plan or cascade")
    kind = found.get("format") if isinstance(found, dict) else None
    if kind not in (PLAN, CASCADE):
        raise PlanError(f'neither a plan nor a cascade: need a JSON object with "format": "{PLAN}" or "{CASCADE}"')
    return Cascade.from_json(text) if kind == CASCADE else Plan.from_json(text)


def _pair(name: str, value: Any) -> Pair:
    one = index(value)
    if one is not None:
        return (one, one)
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise PlanError(f"layer {name}: {value!r} is neither a width nor a pair (weight width, activation width)")
    weight, activation = value
    return (
        whole(weight, f"the weight width of layer {name}"),
        whole(activation, f"the activation width of layer {name}"),
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
