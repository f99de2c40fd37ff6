"""Checkpoints that are whole or absent: written beside the old one and renamed, read only if every byte is right.

The file: magic (8 bytes), version (4), payload length (8), SHA-256 of the payload (32), all little-endian; then the
payload, ``torch.save`` of plain values and tensors, which is read with ``weights_only=True`` and so runs no code.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqt.arith.files import ADVICE, OTHERWISE, remove_abandoned, write_file
from dqt.nn.controller_alone import PREFIXES
from dqt.nn.net import Net

MAGIC = b"DQTCKPT\0"
VERSION = 1
LAST = "last.ckpt"
"""The checkpoint of a run from which it goes on."""
BEST = "best.ckpt"
"""The checkpoint of the epoch with the best mean of the metric over the validated plans."""
HEADER = struct.Struct("<8sIQ32s")


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or is not whole; names the file and what to do."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped.

    Attributes:
        run: ``Run.as_dict()``, or None where ``fit`` was called from Python.
        recipe: the recipe, plain values.
        net: state dict of the network; average: running average of its parameters, or None.
        optimizer, precision: state dicts of the optimizer and of the loss scaler (empty but for 16-mixed).
        epoch, step: epochs that are complete, steps done in all (inside an epoch where a run was cut off).
        totals: sums for the epoch in progress. history: rows of the complete ones. watch: what the watch has seen.
        shape: of one input sample; or by name the shape and kind of each.
        info: mean, std, classes and name of the data, for the program.
    """

    run: dict[str, Any] | None
    recipe: dict[str, Any]
    net: dict[str, Any]
    average: dict[str, Tensor] | None
    optimizer: dict[str, Any]
    precision: dict[str, Any]
    epoch: int
    step: int
    steps_per_epoch: int
    totals: dict[str, Any]
    history: list[dict[str, Any]]
    watch: dict[str, Any]
    shape: Any
    info: dict[str, Any]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write atomically: whatever happens, ``path`` is the old file or the new one.

        Raises:
            CheckpointError: the disk is full or the folder cannot be written; the old file is untouched.
        """
        write({item.name: getattr(self, item.name) for item in fields(self)}, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Read what :meth:`save` wrote, tensors on the CPU.

        Raises:
            CheckpointError: no such file, truncated, changed, or of another version.
        """
        payload = read(Path(path))
        names = {item.name for item in fields(cls)}
        if payload.keys() != names:
            different = sorted(names.symmetric_difference(payload))
            raise CheckpointError(f"{path}: holds another set of entries (differs in {', '.join(different)})")
        return cls(**payload)


def write(payload: Mapping[str, Any], path: Path) -> None:
    """Write ``payload`` to ``path`` by way of a temporary file in the same folder. See :meth:`Checkpoint.save`."""
    buffer = io.BytesIO()
    torch.save(dict(payload), buffer)
    data = buffer.getbuffer()
    header = HEADER.pack(MAGIC, VERSION, len(data), hashlib.sha256(data).digest())
    write_atomically(path, header, data)


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Replace ``path`` by the joined ``parts``, or leave it as it was.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path)  # a run that is killed and resumed many times would fill the disk with them
        write_file(path, *parts)
    except OSError as error:
        there = os.path.exists(path)  # noqa: PTH110 - Path.exists raises where a name is too long
        kept = "; the previous file is kept" if there else ""
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        reason = cause.strerror or type(cause).__name__
        advice = ADVICE.get(cause.errno or 0, OTHERWISE)
        raise CheckpointError(f"{path}: cannot be written ({reason}){kept}: {advice}; {_next(path)}") from error


def _next(path: Path) -> str:
    """What to do when ``path`` can be written again: only a folder with a checkpoint has something to go on from."""
    if os.path.exists(path.with_name(LAST)):  # noqa: PTH110
        return f"then resume from {LAST}"
    return "then begin again, for nothing was saved that could be resumed"


def read(path: Path) -> dict[str, Any]:
    """The payload of :func:`write`, after its length and digest are found right.

    Raises:
        CheckpointError: see :meth:`Checkpoint.load`.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    payload = _verified(path, raw)
    try:
        loaded = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # the digest is right: only a file made by other hands can come here
        raise CheckpointError(f"{path}: its payload is not plain tensors and values: {error}") from None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: its payload is not a checkpoint")
    return loaded


def _verified(path: Path, raw: bytes) -> memoryview:
    if len(raw) < HEADER.size or not raw.startswith(MAGIC):
        raise CheckpointError(f"{path}: not a dqt checkpoint, or cut off in its header")
    _, version, length, digest = HEADER.unpack_from(raw)
    if version != VERSION:
        raise CheckpointError(f"{path}: checkpoint version {version}; this release reads version {VERSION}")
    payload = memoryview(raw)[HEADER.size :]
    if len(payload) != length:
        raise CheckpointError(
            f"{path}: truncated or extended: {len(payload)} bytes of payload, the header says {length}"
        )
    if hashlib.sha256(payload).digest() != digest:
        raise CheckpointError(f"{path}: damaged: its SHA-256 is not the recorded one; use another checkpoint")
    return payload


def restore(net: Net, checkpoint: Checkpoint, where: str = "the checkpoint") -> Net:
    """Put the checkpoint's state into a network that was prepared the same way; returns ``net``.

    Raises:
        CheckpointError: the state belongs to another network.
    """
    try:
        net.load_state_dict(checkpoint.net, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1:2] or [str(error)]
        raise CheckpointError(f"{where}: belongs to another network: {reason[0].strip()}") from None
    return net


def start_from(net: Net, path: str | os.PathLike[str]) -> Net:
    """Give ``net`` the state that another run ended with. Its controller may be new: it then keeps what it has.

    Raises:
        CheckpointError: see :meth:`Checkpoint.load`; or the state belongs to another network.
    """
    checkpoint = Checkpoint.load(path)
    own = {name: value for name, value in net.state_dict().items() if name.startswith(PREFIXES)}
    return restore(net, replace(checkpoint, net=own | checkpoint.net), str(path))
