"""``dqt.lower``: the graph that trained, as the integer program that is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dqt.nn.emission import emit
from dqt.nn.guards import calibrated, outside_inference_mode
from dqt.nn.net import Net
from dqt.program.program import Program, ProgramError


@outside_inference_mode
def lower(net: Net, *, info: Mapping[str, Any] | None = None) -> Program:
    """Freeze a prepared network into the integer program that is served.

    ``net(x, plan, exact=True)`` is this program run in torch, ``dqt.interpret`` the same in NumPy: equal to the bit.

    Args:
        net: calibrated or trained.
        info: what to keep beside the numbers: ``mean``, ``std``, ``classes``, ``data`` (see :class:`Program`).

    Raises:
        CalibrationError: the ranges come from the example input alone.
        InputError: ``net`` is no prepared network.
        UnsupportedError: a parameter is not finite, or a constant does not fit; names it, or the layer.
        ProgramError: a layer cannot be proved free of overflow; names it and the bound.
            Or ``info`` is no mapping.
    """
    net = calibrated(net, "dqt.lower")
    if info is not None and not isinstance(info, Mapping):
        raise ProgramError(f"info is a value of type {type(info).__name__}: pass a mapping, such as {{'mean': [0.5]}}")
    return emit(net, info or {})
