"""How a packed file stores its tensors: the top bits of weights, without gaps, and deflated where that gains much.

A table in the metadata says for each such tensor what it is; the tensor of the file is then a row of bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.program.before import check_keys, check_list
from dqt.program.bits import Bytes, packed, packed_size, unpacked
from dqt.program.container import Tensors
from dqt.program.errors import ProgramError, require
from dqt.program.schema import check_scalar, check_shape, field_types, size
from dqt.program.strict import parse

if TYPE_CHECKING:
    import numpy.typing as npt

GAIN = 0.95
"""A tensor is deflated where that takes less than so much of its bytes."""
LEAST = 512
"""Bytes below which nobody tries to deflate a tensor that keeps all its bits."""
SIZES = {"int8": 1, "uint8": 1, "int32": 4, "int64": 8, "float32": 4}
"""dtype -> bytes of a number. Of one byte the numbers may have fewer bits."""


@dataclass(frozen=True)
class Stored:
    """One tensor of the table. A number is ``code << shift``; of int8, ``code`` is signed and has ``bits`` bits.

    Attributes:
        name, dtype, shape: of the tensor that the program has.
        bits: of a number; all of them where ``dtype`` is longer than a byte, and then ``shift`` is 0.
        deflated: its bytes are a raw deflate stream (RFC 1951): of the packed bytes, or, where ``bits`` does not divide
            8, of one byte for each number.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bits: int
    shift: int
    deflated: bool

    @property
    def narrow(self) -> bool:
        """Numbers of one byte."""
        return SIZES[self.dtype] == 1

    @property
    def spread(self) -> bool:
        """Each number has a byte of its own."""
        return self.narrow and self.deflated and 8 % self.bits != 0

    @property
    def inflated(self) -> int:
        """Bytes before they were deflated."""
        return size(self.shape) if self.spread else packed_size(size(self.shape), self.bits)


def stored(tensors: Tensors, kept: Mapping[str, tuple[int, int]]) -> tuple[Tensors, str]:
    """The tensors as a packed file has them, and the text of its table.

    Args:
        kept: name -> bits and shift of those that may keep fewer than all bits.
    """
    result, table = dict(tensors), []
    for name in sorted(tensors):
        array = tensors[name]
        all_bits = 8 * array.itemsize
        bits, shift = kept.get(name, (all_bits, 0))
        if bits == all_bits and array.nbytes < LEAST:
            continue
        data, deflated = _encoded(array, bits, shift)
        if deflated or bits < all_bits:
            result[name] = data
            table.append(asdict(Stored(name, array.dtype.name, array.shape, bits, shift, deflated)))
    return result, json.dumps(table, sort_keys=True, separators=(",", ":"))


def restored(text: str, tensors: Tensors, *, only: frozenset[str] | None = None) -> Tensors:
    """The tensors that a program has, from those of a packed file and the text of its table.

    Args:
        only: the names that matter, of a file that is verified.

    Raises:
        ProgramError: the table is not legal, or does not fit the tensors; names the tensor.
    """
    table = table_of(text)
    result = dict(tensors)
    for i, entry in enumerate(table):
        if only is None or entry.name in only:
            where = f"packed[{i}]"
            require(entry.name in tensors, f"{where}: tensor {entry.name!r} is missing")
            result[entry.name] = _decoded(entry, tensors[entry.name], f"{where}: tensor {entry.name!r}")
    return result


@lru_cache(maxsize=2)
def table_of(text: str) -> tuple[Stored, ...]:
    """The table, checked; an upgrade reads those of a file and of its delta twice.

    Raises:
        ProgramError: it is not legal.
    """
    items = check_list(parse(text, "packed"), "packed")
    table = tuple(_entry(item, f"packed[{i}]") for i, item in enumerate(items))
    names = [entry.name for entry in table]
    require(names == sorted(set(names)), "packed: names, need an ascending list without repeats")
    return table


def _entry(item: Any, where: str) -> Stored:
    types = field_types(Stored)
    check_keys(item, types, where)
    for name, kind in types.items():
        if name != "shape":
            check_scalar(item[name], kind, f"{where}.{name}")
    shape = tuple(check_list(item["shape"], f"{where}.shape"))
    for d in shape:
        check_scalar(d, int, f"{where}.shape")
    check_shape(shape, where)
    entry = Stored(**{**item, "shape": shape})
    require(entry.dtype in SIZES, f"{where}: dtype {entry.dtype[:40]!r}, need one of {', '.join(SIZES)}")
    _check_bits(entry, where)
    return entry


def _check_bits(entry: Stored, where: str) -> None:
    whole = 8 * SIZES[entry.dtype]
    least = 1 if entry.narrow else whole
    legal = least <= entry.bits and entry.shift >= 0 and entry.bits + entry.shift <= whole
    require(legal, f"{where}: {entry.bits} bits and a shift of {entry.shift} do not fit {entry.dtype}")


def _encoded(array: npt.NDArray[Any], bits: int, shift: int) -> tuple[Bytes, bool]:
    """The bytes of a tensor, and whether they are deflated."""
    plain = lanes = np.frombuffer(array.tobytes(), dtype=np.uint8)
    if array.itemsize == 1:
        codes: Bytes = plain >> np.uint8(shift) & np.uint8((1 << bits) - 1)
        plain = packed(codes, bits)
        lanes = plain if 8 % bits == 0 else codes
    small = _deflate(lanes, runs=array.itemsize == 1)
    return (small, True) if len(small) < GAIN * len(plain) else (plain, False)


def _deflate(data: Bytes, *, runs: bool) -> Bytes:
    """A raw deflate stream. ``runs``: nothing repeats but runs of a byte; to look for more costs seconds."""
    strategy = zlib.Z_RLE if runs else zlib.Z_DEFAULT_STRATEGY
    made = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
    return np.frombuffer(made.compress(data.data) + made.flush(), dtype=np.uint8)


def _decoded(entry: Stored, data: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    row = data.dtype == np.uint8 and data.ndim == 1
    require(row, f"{where} is {data.dtype} of {data.ndim} dimensions, need uint8 of one dimension")
    plain = _inflated(entry, data, where) if entry.deflated else data
    require(len(plain) == entry.inflated, f"{where} holds {len(plain)} bytes, need {entry.inflated}")
    if not entry.narrow:
        return np.frombuffer(plain.tobytes(), dtype=np.dtype(entry.dtype).newbyteorder("<")).reshape(entry.shape)
    try:
        codes = plain if entry.spread else unpacked(plain, entry.bits, size(entry.shape))
    except ValueError:
        raise ProgramError(f"{where} has bits that belong to no number") from None
    require(not entry.spread or int(plain.max()) < 1 << entry.bits, f"{where} has bits that belong to no number")
    return _numbers(entry, codes).reshape(entry.shape)


def _inflated(entry: Stored, data: Bytes, where: str) -> Bytes:
    """Never more bytes than the table says."""
    reader = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = reader.decompress(data.data, entry.inflated + 1)
    except zlib.error:
        plain = b""
    whole = len(plain) == entry.inflated and reader.eof and not reader.unused_data
    damaged = "the file was changed or damaged; get it again"
    require(whole, f"{where} does not inflate to {entry.inflated} bytes: {damaged}")
    return np.frombuffer(plain, dtype=np.uint8)


def _numbers(entry: Stored, codes: Bytes) -> npt.NDArray[Any]:
    if entry.dtype == "uint8":
        return codes << entry.shift
    top = 8 - entry.bits  # the code at the top of its byte, and down to its place with the sign
    return (codes << top).view(np.int8) >> (top - entry.shift)
