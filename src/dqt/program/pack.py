"""Packed programs: the top bits of the weights alone, and deltas, which add bits to the file of one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dqt.arith.errors import PlanError
from dqt.arith.files import write_file
from dqt.arith.plan import uniform
from dqt.arith.whole import whole
from dqt.program.container import Tensors, closed, digest, opened
from dqt.program.errors import ProgramError, require
from dqt.program.file import PACKED, Kept, assembled, contents, described, graph_text, kept_of
from dqt.program.layered import Layered
from dqt.program.operator import Operator, Scope
from dqt.program.stored import restored, stored, table_of
from dqt.program.strict import parse

if TYPE_CHECKING:
    from dqt.program.program import Program

FORMAT, VERSION = "dqt-delta", "1"
KEYS = frozenset({"format", "version", "base", "result", "width", "packed"})


def packed(program: Program, width: int) -> Program:
    """See :meth:`Program.pack`."""
    b = whole(width, "the width to pack to")
    uniform(program.space, b)  # one of the widths that it holds
    if b == program.space.widest:
        return program
    space = replace(program.space, packed=b)
    scope = replace(Scope.of(program), space=space)
    return replace(program, space=space, ops=tuple(_cut(op, scope) for op in program.ops))


def _cut(op: Operator, scope: Scope) -> Operator:
    """The instruction, with weights whose low bits are 0."""
    if not isinstance(op, Layered):
        return op
    shift = scope.space.master - op.kept(scope)
    return replace(op, weight=op.weight >> shift << shift) if shift else op


def save_delta(program: Program, path: str | os.PathLike[str], since: int) -> None:
    """See :meth:`Program.save_delta`."""
    base = packed(program, since)
    if base is program:
        raise PlanError(f"a delta from {since} bits: this program holds no more; need one of {program.space.held[:-1]}")
    (text, tensors), small = described(program), described(base)
    added, kept = _added(tensors, kept_of(program), kept_of(base))
    data, table = stored(added, kept)
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "base": digest(*small),
        "result": digest(text, tensors),
        "width": str(program.space.widest),
        "packed": table,
    }
    write_file(path, *closed(meta, data))


def _added(tensors: Tensors, kept: Kept, before: Kept) -> tuple[Tensors, Kept]:
    """The bits of weights that a file packed to fewer has not, as unsigned numbers; and which bits they are."""
    names = {name: (bits - before[name][0], shift) for name, (bits, shift) in kept.items() if bits > before[name][0]}
    return {name: tensors[name].view(np.uint8) for name in names}, names


def upgrade(path: str | os.PathLike[str], delta: str | os.PathLike[str]) -> int:
    """Add the bits of a delta to the file of a packed program, in place; the widest width that it holds now.

    The file is then, byte for byte, the one that the program of the delta saves, which the digests of both prove. It is
    replaced whole, when it is on the disk; whatever goes wrong leaves it as it was.

    Raises:
        ProgramError: ``path`` is no packed program, ``delta`` is none, belongs to another program or to other bits of
            it, or one of them is damaged.
        OSError: one cannot be read, or ``path`` cannot be written.
    """
    old, added = Path(path).read_bytes(), Path(delta).read_bytes()
    meta, tensors = _named(path, contents, old)
    said, low = _named(delta, _delta, added)
    _check_pair(meta, said, f"{path}", f"{delta}")
    try:
        text, kept = _joined(meta, tensors, said, low)
        fits = digest(text, tensors) == said["result"]
    except ProgramError:
        fits = False
    if not fits:
        raise ProgramError(
            f"{path} or {delta} is damaged: together they do not give what the delta promises; get both again. "
            f"{path} is as it was"
        )
    write_file(path, *assembled(text, tensors, said["result"], kept))
    return int(said["width"])


def _named(path: Any, read: Any, data: bytes) -> Any:
    """What a file holds; its errors name it."""
    try:
        return read(data)
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from None


def _delta(data: bytes) -> tuple[dict[str, str], Tensors]:
    """The metadata of a delta, and its tensors."""
    meta, tensors = opened(data)
    ours = isinstance(meta, dict) and meta.get("format") == FORMAT
    require(
        ours, f'no delta: its metadata lack "format": "{FORMAT}"; program.save_delta or dqt pack --delta writes one'
    )
    version = str(meta.get("version"))[:20]
    require(version == VERSION, f"delta of version {version!r}; this release reads version {VERSION!r}: update dqt")
    require(set(meta) == KEYS, f"metadata {sorted(set(meta) ^ KEYS)[:3]} are missing or unknown; need {sorted(KEYS)}")
    require(meta["width"] in set("2345678"), f"width {meta['width'][:20]!r}, need 2 to 8")
    return meta, restored(meta["packed"], tensors)


def _check_pair(meta: dict[str, str], said: dict[str, str], path: str, delta: str) -> None:
    """The delta was made for this very file."""
    if meta["sha256"] == said["result"]:
        raise ProgramError(f"{path} holds these {said['width']} bits already")
    require(meta["version"] == PACKED, f"{path} is not packed: it holds all its bits, and a delta adds none")
    if meta["sha256"] != said["base"]:
        raise ProgramError(f"{delta} belongs to another file than {path}, which is as it was: get its own delta")


def _joined(meta: dict[str, str], tensors: Tensors, said: dict[str, str], low: Tensors) -> tuple[str, Kept | None]:
    """The text of the upgraded graph, and the bits that its weights keep; the weights go into ``tensors``."""
    kept = {entry.name: (entry.bits, entry.shift) for entry in table_of(meta["packed"])}
    for entry in table_of(said["packed"]):
        bits, shift = kept.get(entry.name, (0, 0))
        fits = entry.dtype == "uint8" and entry.bits + entry.shift == shift
        require(fits and low[entry.name].shape == tensors[entry.name].shape, f"tensor {entry.name!r} does not fit")
        tensors[entry.name] = tensors[entry.name] | low[entry.name].view(np.int8)
        kept[entry.name] = (bits + entry.bits, entry.shift)
    graph, width = parse(meta["graph"], "graph"), int(said["width"])
    space = graph.get("space") if isinstance(graph, dict) else None
    if not isinstance(space, dict):
        raise ProgramError("graph: need an object with a space")
    if width == space.get("master"):
        space.pop("packed", None)
        return graph_text(graph), None
    space["packed"] = width
    return graph_text(graph), kept
