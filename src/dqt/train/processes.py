"""One process or several: Lightning Fabric, what is kept equal between processes, and stopping cleanly."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.connector import _Connector
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from dqt.train.recipe import Recipe, RecipeError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4

logger = logging.getLogger("dqt.train")


class Stopped(KeyboardInterrupt):
    """Training was interrupted and its state is saved; the message says where and how to go on."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees (glibc alone); for commands that train and nothing else.

    A training step allocates and frees the same large tensors again and again. glibc hands them back to the system,
    whose fresh pages can cost more than the arithmetic on them (bench/training_speed.py measures both).

    Returns:
        whether the allocator was told.
    """
    try:
        libc = ctypes.CDLL(None)
        return bool(libc.mallopt(_M_MMAP_MAX, 0)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    except (AttributeError, OSError, TypeError):  # another C library
        return False


def make_fabric(recipe: Recipe) -> Fabric:
    """Fabric for one device, or for the processes that ``torchrun`` started; launched.

    Under ``torchrun`` one module, whose forward is the whole objective, is wrapped in DDP.

    Raises:
        RecipeError: several devices without ``torchrun``, or an accelerator that this machine lacks.
    """
    local, world = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if recipe.devices not in ("auto", local):
        raise RecipeError(
            f"recipe.devices {recipe.devices}, but {local} process(es) were started here: "
            f"use torchrun --nproc-per-node {recipe.devices}"
        )
    several = recipe.strategy == "ddp" or world > 1
    strategy: Any = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if several else "auto"
    try:
        fabric = Fabric(
            accelerator=_accelerator(recipe.accelerator),
            devices=local,
            num_nodes=max(1, world // local),
            strategy=strategy,
            precision=recipe.precision,
        )
    except (RuntimeError, ValueError) as error:
        raise RecipeError(f"recipe.accelerator {recipe.accelerator!r}: {error}") from None
    fabric.launch()
    return fabric


def _accelerator(asked: str) -> str:
    """``asked``, but never Apple's MPS, which has no float64: products are rescaled in it as the program does.

    Raises:
        ValueError: MPS was asked for, by name or as this machine's GPU. RuntimeError: there is no GPU.
    """
    chosen = asked
    if asked == "auto":
        chosen = _Connector._choose_auto_accelerator()
    elif asked == "gpu":
        chosen = _Connector._choose_gpu_accelerator_backend()
    if chosen != "mps":
        return asked
    if asked == "auto":
        logger.warning("Apple's MPS has no float64, which training needs: this run is on the CPU")
        return "cpu"
    raise ValueError('Apple\'s MPS has no float64, which training needs: use "cpu"')


@torch.no_grad()
def equalize(fabric: Fabric, net: nn.Module, flags: Tensor) -> Tensor:
    """Average the floating-point buffers (norm statistics, ranges) and the flags over all processes.

    So every process holds the same network after every step, and any checkpoint is everyone's.

    Args:
        flags: float ``[k]``: what a process wants (to stop, to write a checkpoint).

    Returns:
        the mean of the flags; above 0 where any process raised one.
    """
    if fabric.world_size == 1:
        return flags
    buffers = [b for b in net.buffers() if b.is_floating_point()]
    flat = torch.cat([*(b.flatten().float() for b in buffers), flags.to(fabric.device)])
    mean = fabric.all_reduce(flat, reduce_op="mean")
    assert isinstance(mean, Tensor)
    start = 0
    for b in buffers:
        b.copy_(mean[start : start + b.numel()].view_as(b))
        start += b.numel()
    return mean[start:].cpu()


def summed(fabric: Fabric, values: Tensor) -> Tensor:
    """``values`` added up over all processes, on the CPU."""
    total = fabric.all_reduce(values.to(fabric.device), reduce_op="sum")
    assert isinstance(total, Tensor)
    return total.cpu()


class StopFlag:
    """Whether the user (Ctrl-C) or the system (SIGTERM) asked to stop; the step in progress is finished first."""

    def __init__(self) -> None:
        self.raised = False

    def raise_it(self, number: int, frame: FrameType | None) -> None:
        """Signal handler; a second signal interrupts at once."""
        if self.raised:
            raise KeyboardInterrupt
        self.raised = True


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """A :class:`StopFlag` that listens inside the block; a silent one outside the main thread."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.signal(number, flag.raise_it) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
