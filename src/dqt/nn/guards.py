"""Checks at the doors of the public functions: what was passed, and the mode of torch that they are called in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

from dqt.arith.errors import InputError
from dqt.nn.errors import CalibrationError
from dqt.nn.net import Net

P = ParamSpec("P")
R = TypeVar("R")


def outside_inference_mode(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, which makes ordinary tensors even where it is called under ``torch.inference_mode``.

    Tensors made in that mode can never be trained nor counted, so a network of such tensors would be broken for good.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if not torch.is_inference_mode_enabled():
            return function(*args, **kwargs)
        with torch.inference_mode(False):
            return function(*args, **kwargs)

    return wrapped


def prepared(net: Any, where: str) -> Net:
    """``net``, if it is a prepared network.

    Args:
        where: how the message names the function, such as ``"dqt.lower"``.

    Raises:
        InputError: it is anything else.
    """
    if isinstance(net, Net):
        return net
    inner = getattr(net, "module", getattr(net, "_orig_mod", None))
    if isinstance(inner, Net):
        raise InputError(f"{where} takes the prepared network itself: pass what the {type(net).__name__} wraps")
    kind = "a class" if isinstance(net, type) else f"an object of type {type(net).__name__}"
    if isinstance(net, torch.nn.Module):
        kind = f"a model that is not prepared ({type(net).__name__})"
    raise InputError(f"{where} takes a prepared network, not {kind}: make one with dqt.prepare first")


def calibrated(net: Any, where: str) -> Net:
    """``net``, if it is a prepared network whose ranges come from data. ``where``: as in :func:`prepared`.

    Raises:
        InputError: no prepared network.   CalibrationError: its ranges come from the example input alone.
    """
    net = prepared(net, where)
    if not net.calibrated:
        raise CalibrationError(
            "the ranges come from the example input alone: run dqt.calibrate(net, batches) or dqt.fit first"
        )
    return net
