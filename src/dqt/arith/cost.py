"""What a plan costs: BitOPs, shifts, bytes (docs/numerics.md, section 6)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dqt.arith.plan import Layer, Plan, PlanError, PlanLike, Space, resolve


class HasSpace(Protocol):
    """A prepared network or a program."""

    @property
    def space(self) -> Space:
        """The plans it accepts."""
        ...


@dataclass(frozen=True)
class Cost:
    """The cost of one sample under a plan (equations 16 to 20).

    Attributes:
        macs: multiply-accumulates of the layers that carry a width.
        bitops: sum over layers of MACs * weight width * activation width.
        share: ``bitops`` as a fraction of the master's.
        shifts_weights: weights that are read below the master width.
        shifts_activations: layer inputs that are read below the master width.
        float_path: float operations of a method that dequantizes and requantizes the same elements, 2 an element.
        master_bytes: bytes of the master weights, 8 bits or fewer stored in one byte each.
        read_bytes: bytes of weight bits that inference at these widths must read.
    """

    macs: int
    bitops: int
    share: float
    shifts_weights: int
    shifts_activations: int
    float_path: int
    master_bytes: int
    read_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def bitops_table(space: Space) -> npt.NDArray[np.float64]:
    """BitOPs of each layer at each uniform width, ``[layers, widths]`` in the order of ``space`` (equation 16)."""
    macs = np.array([layer.macs for layer in space.layers], dtype=np.float64)
    return macs[:, None] * np.array(space.widths, dtype=np.float64)[None, :] ** 2


def full_bitops(space: Space) -> int:
    """BitOPs with every layer, edges too, at the master width: what a share is a share of."""
    return sum(layer.macs for layer in space.layers) * space.master**2


def controller_bitops(space: Space) -> int:
    """What the controller itself costs per sample: its MACs at the master width."""
    return sum(layer.macs for layer in space.controller) * space.master**2


def chosen_bitops(space: Space, widths: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """BitOPs of each sample from the widths it got, the controller's own included (equation 16).

    Args:
        widths: ``[N, layers]``, the width of each layer for each sample.

    Returns:
        int64 ``[N]``.
    """
    chosen = np.asarray(widths, dtype=np.int64)
    if chosen.ndim != 2 or chosen.shape[1] != len(space.layers):
        raise PlanError(f"widths of shape {chosen.shape}: need [samples, {len(space.layers)}]")
    macs = np.array([layer.macs for layer in space.layers], dtype=np.int64)
    total: npt.NDArray[np.int64] = chosen**2 @ macs + controller_bitops(space)
    return total


def cost(network: HasSpace, plan: PlanLike = None) -> Cost:
    """The cost of one sample of ``network`` (a prepared net or a program) under a static ``plan``.

    Raises:
        PlanError: the plan does not fit, or depends on the input ("auto", a cascade): use :func:`chosen_bitops`
            on the widths that were chosen.
    """
    space = network.space
    fixed = resolve(space, plan)
    if not isinstance(fixed, Plan):
        raise PlanError("this plan's cost depends on the input: run it and count the widths it chose")
    bitops = sum(layer.macs * fixed[layer.name][0] * fixed[layer.name][1] for layer in space.layers)
    weights = _narrowed(space, fixed, 0, "weights")
    activations = _narrowed(space, fixed, 1, "inputs")
    bits = sum(layer.weights * fixed[layer.name][0] for layer in space.layers)
    return Cost(
        macs=sum(layer.macs for layer in space.layers),
        bitops=bitops,
        share=bitops / full_bitops(space),
        shifts_weights=weights,
        shifts_activations=activations,
        float_path=2 * (weights + activations),
        master_bytes=sum(layer.weights for layer in space.layers),
        read_bytes=-(-bits // 8),
    )


def _narrowed(space: Space, plan: Plan, side: int, count: str) -> int:
    def below(layer: Layer) -> bool:
        return plan[layer.name][side] < space.master

    return sum(int(getattr(layer, count)) for layer in space.layers if below(layer))
