"""The safetensors file around a program, or around what is added to one: tensors, metadata, and a digest of both."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from dqt.program.errors import ProgramError
from dqt.program.strict import parse, short

if TYPE_CHECKING:
    import numpy.typing as npt

Tensors = dict[str, "npt.NDArray[Any]"]
DTYPES = {"I8": "<i1", "U8": "<u1", "F32": "<f4"}
"""Of tensors that are read alone."""


class Sliced(Protocol):
    """What gives parts of a file's bytes."""

    def __getitem__(self, part: slice, /) -> bytes:
        """Those of a slice without a stride."""


class FileBytes:
    """The bytes of an open file, each slice read when it is asked for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __getitem__(self, part: slice, /) -> bytes:
        first = part.start or 0
        return os.pread(self._descriptor, part.stop - first, first)


def opened(data: bytes) -> tuple[Any, Tensors]:
    """The metadata, as they are, and the tensors of a file.

    Raises:
        ProgramError: it is no whole safetensors file.
    """
    try:
        tensors = load_tensors(data)
        return metadata(data), tensors
    except (SafetensorError, ValueError, KeyError, AttributeError, struct.error) as error:
        raise ProgramError(f"not a whole safetensors file ({short(error)}): get the file again") from None


def metadata(data: Sliced) -> Any:
    """The metadata of the header, as they are."""
    return parse(data[8 : 8 + struct.unpack("<Q", data[:8])[0]], "header").get("__metadata__", {})


def tensor(data: Sliced, name: str) -> npt.NDArray[Any]:
    """One tensor of one dimension, of bytes or float32, of a file that is verified."""
    length = struct.unpack("<Q", data[:8])[0]
    found = json.loads(data[8 : 8 + length])[name]
    start, end = found["data_offsets"]
    return np.frombuffer(data[8 + length + start : 8 + length + end], dtype=DTYPES[found["dtype"]])


def closed(meta: Mapping[str, str], tensors: Tensors) -> tuple[bytes, memoryview]:
    """The bytes of a file, in two parts; the metadata in sorted order: the library's own changes from run to run."""
    in_order = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    data = save_tensors(in_order)  # which writes memory as it lies
    length = struct.unpack("<Q", data[:8])[0]
    header = json.dumps(
        {"__metadata__": dict(sorted(meta.items())), **json.loads(data[8 : 8 + length])}, separators=(",", ":")
    )
    text = header.encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, memoryview(data)[8 + length :]


def digest(graph: str, tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256, in hexadecimal, over the graph and over each tensor in the order of names: name, dtype, shape, bytes."""
    sha = hashlib.sha256(graph.encode())
    for name in sorted(tensors):
        array = tensors[name]
        sha.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
