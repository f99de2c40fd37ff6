"""Calibration data: batches of inputs, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from dqt.nn.errors import CalibrationError
from dqt.nn.net import Net

Batches: TypeAlias = Sequence[tuple[Tensor, ...]]
"""The inputs of a network, in order, batch by batch."""


def taken(net: Net, batches: Iterable[Any]) -> Batches:
    """The inputs of every batch, on the device of the network.

    Raises:
        CalibrationError: no data, or numbers that cannot be inputs.
    """
    if isinstance(batches, Tensor):
        batches = [batches]
    if not isinstance(batches, Iterable) or isinstance(batches, torch.nn.Module):
        found = type(batches).__name__
        raise CalibrationError(f"calibration data of type {found}: pass batches of inputs, a DataLoader or one tensor")
    inputs = [net.inputs.take(net.inputs.of_batch(batch)) for batch in batches]
    if not inputs:
        raise CalibrationError("no calibration data: pass at least one batch of inputs (a few hundred samples)")
    device = next(net.parameters()).device
    return [_checked(net, given, i, device) for i, given in enumerate(inputs)]


def spread(values: Iterable[Tensor], count: int) -> list[Tensor]:
    """``count`` samples, of every batch its share: the first ones."""
    batches = list(values)
    whole, seen, found = sum(map(len, batches)), 0, []
    for batch in batches:
        share = (seen + len(batch)) * count // whole - seen * count // whole
        seen += len(batch)
        if share:
            found.append(batch[:share])
    return found


def some_of(inputs: Batches, count: int) -> Batches:
    """The inputs of :func:`spread`."""
    return [*zip(*(spread(each, count) for each in zip(*inputs, strict=True)), strict=True)]


def _checked(net: Net, given: tuple[Tensor, ...], batch: int, device: torch.device) -> tuple[Tensor, ...]:
    found = []
    for one, x in zip(net.inputs.each, given, strict=True):
        if one.kind == "integer":
            one.check_values(x)
        elif not bool(torch.isfinite(x.float()).all()):  # a float64 may be beyond float32
            raise CalibrationError(f"calibration batch {batch} contains NaN or infinity")
        elif not net.config.input_signed and one.name not in net.signature.states and float(x.min()) < 0:
            raise CalibrationError("the input has negative values, but Config(input_signed=False) promises none")
        moved = x.to(device, torch.float32 if one.kind == "float" else torch.int64)
        found.append(moved.clone() if moved.is_inference() else moved)
    return tuple(found)
