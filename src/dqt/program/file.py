"""The ``.dqt`` file: safetensors, whose metadata hold the graph as JSON (docs/format.md). Reading runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, get_origin

import numpy as np

from dqt.arith.plan import Space
from dqt.program.before import check_keys, check_list, upgraded
from dqt.program.container import Sliced, Tensors, closed, digest, metadata, opened, tensor
from dqt.program.errors import ProgramError, require
from dqt.program.info import frozen
from dqt.program.layered import Layered
from dqt.program.operator import Scope, operators
from dqt.program.ops.quantize import Quantize
from dqt.program.schema import array_dtype, check_scalar, field_types, tuple_items
from dqt.program.signature import Entry, Signature
from dqt.program.stored import restored, stored
from dqt.program.strict import parse
from dqt.program.values import Value
from dqt.program.verify import PARTS

if TYPE_CHECKING:
    import numpy.typing as npt

    from dqt.program.program import Program

FORMAT, BEFORE, VERSION, PACKED = "dqt", "1", "2", "3"
"""A program is written as version 2, a packed one as version 3."""
KEYS = frozenset({"format", "version", "graph", "sha256"})
Kept = dict[str, tuple[int, int]]
"""Tensor -> bits and shift of the weights that a packed program keeps."""
MAX_GRAPH = 2**26
"""Most bytes of a graph; a network of a thousand layers needs about a quarter of a mebibyte."""


def dumps(program: Program) -> bytes:
    """The bytes of a ``.dqt`` file; the same program gives the same bytes."""
    text, tensors = described(program)
    kept = kept_of(program) if program.space.packed else None
    return b"".join(assembled(text, tensors, digest(text, tensors), kept))


def described(program: Program) -> tuple[str, Tensors]:
    """The text of a program's graph, and its tensors."""
    tensors: Tensors = {}
    space = _encode(program.space, "", tensors)
    if not program.space.packed:
        del space["packed"]  # a field of version 3
    graph = {
        "space": space,
        "ops": [{"op": type(op).__name__, **_encode(op, op.writes() or "", tensors)} for op in program.ops],
        "info": dict(program.info),
        **{name: _encode(getattr(program, name), "", tensors) for name in PARTS},
    }
    return graph_text(graph), tensors


def graph_text(graph: Any) -> str:
    """The one text of a graph."""
    return json.dumps(graph, sort_keys=True, separators=(",", ":"), allow_nan=False)


def kept_of(program: Program) -> Kept:
    """The bits of every layer's weights that the program keeps."""
    scope, n = Scope.of(program), program.space.master
    layers = (op for op in program.ops if isinstance(op, Layered))
    return {f"{op.out}.weight": (kept, n - kept) for op in layers for kept in (op.kept(scope),)}


def assembled(text: str, tensors: Tensors, sha: str, kept: Kept | None) -> tuple[bytes, memoryview]:
    """The bytes of a file, in two parts. ``kept``: of a packed program."""
    meta = {"format": FORMAT, "graph": text, "sha256": sha, "version": VERSION}
    if kept is not None:
        tensors, table = stored(tensors, kept)
        meta |= {"packed": table, "version": PACKED}
    return closed(meta, tensors)


def parts_of(data: bytes) -> dict[str, Any]:
    """What the program in the bytes of a ``.dqt`` file is made of, by field; each has its type, none is verified yet.

    Raises:
        ProgramError: anything is wrong with them; no other error.
    """
    meta, tensors = contents(data)
    if digest(meta["graph"], tensors) != meta["sha256"]:
        raise ProgramError("the content does not match its sha256: the file was changed or damaged; get it again")
    graph = parse(meta["graph"], "graph")
    if meta["version"] == BEFORE:
        graph, tensors = upgraded(graph, tensors)
    return _parts(graph, tensors, packed=meta["version"] == PACKED)


def contents(data: bytes) -> tuple[dict[str, str], Tensors]:
    """The metadata of a ``.dqt`` file, checked, and its tensors as the program has them; the digest is not looked at.

    Raises:
        ProgramError: it is damaged, or no such file.
    """
    meta, tensors = opened(data)
    _check_metadata(meta)
    return meta, restored(meta["packed"], tensors) if meta["version"] == PACKED else tensors


def outline(data: Sliced) -> tuple[Signature, str]:
    """The signature and the digest of the bytes of a ``.dqt`` file that are verified: only their header is read.

    Raises:
        ProgramError: it is nothing that a verified file could hold.
    """
    meta = metadata(data)
    graph, made = parse(meta["graph"], "graph"), Tensors()
    if meta["version"] == BEFORE:
        graph, made = upgraded(graph, {})
    values = {value["name"]: value for value in graph["values"]}
    held = {name: _decode(graph[name], hint, name, "", {}) for name, hint in PARTS.items() if name != "values"}

    def value(name: str) -> Value:
        found: Value = _decode(values[name], Value, "values", "", {})
        return found

    entries: dict[str, Entry] = {}
    for item in graph["ops"]:
        if item["op"] == "Quantize" and item["x"] not in entries:
            tensors = made or _constants(data, meta, frozenset(item[field] for field in ("gain", "bias")))
            entries[item["x"]] = Entry.of(_decode_as(Quantize, item, "op", tensors), value(item["out"]))
    outputs = {item["name"]: value(item["x"]) for item in graph["ops"] if item["op"] == "Dequantize"}
    space = _space(graph["space"], packed=meta["version"] == PACKED)
    info = frozen(graph["info"])
    return Signature(space=space, entries=entries, outputs=outputs, info=info, **held), meta["sha256"]


def _constants(data: Sliced, meta: Any, names: frozenset[str]) -> Tensors:
    """Some tensors of one dimension of a file that is verified."""
    found = {name: tensor(data, name) for name in names}
    return restored(meta["packed"], found, only=names) if meta["version"] == PACKED else found


def _check_metadata(meta: Any) -> None:
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ProgramError('a safetensors file, but no program: its metadata lack "format": "dqt"')
    if meta.get("version") not in (BEFORE, VERSION, PACKED):
        found = str(meta.get("version"))[:20]
        read = f"this release reads versions {BEFORE!r}, {VERSION!r} and {PACKED!r}"
        raise ProgramError(f"file version {found!r}; {read}: update dqt, or lower the network again")
    keys = KEYS | {"packed"} if meta["version"] == PACKED else KEYS
    if set(meta) != keys:
        raise ProgramError(f"metadata {sorted(set(meta) ^ keys)[:3]} are missing or unknown; need {sorted(keys)}")
    if len(meta["graph"]) > MAX_GRAPH:
        raise ProgramError(f"a graph of {len(meta['graph'])} bytes, the most is {MAX_GRAPH}")


def _parts(graph: Any, tensors: Tensors, *, packed: bool) -> dict[str, Any]:
    check_keys(graph, ("space", "ops", "info", *PARTS), "graph")
    rest = dict(tensors)
    space = _space(graph["space"], packed=packed)
    parts = {name: _decode(graph[name], hint, name, "", rest) for name, hint in PARTS.items()}
    ops = tuple(_decode_op(item, f"op {i}", rest) for i, item in enumerate(check_list(graph["ops"], "ops")))
    if rest:
        raise ProgramError(f"tensor {min(rest)!r} belongs to no instruction")
    return {"space": space, "ops": ops, "info": graph["info"], **parts}


def _space(data: Any, *, packed: bool) -> Space:
    """The space of plans; a file of version 3 says what it is packed to, and no other does."""
    if not packed and isinstance(data, dict):
        require("packed" not in data, "space: field 'packed' is unknown")
        data = {**data, "packed": 0}
    try:
        space: Space = _decode(data, Space, "space", "", {})
    except ProgramError:
        raise
    except ValueError as error:  # PlanError, or a width that the space itself refuses
        raise ProgramError(f"space: {error}") from None
    require(bool(space.packed) == packed, "space: packed 0, need a width below the master")
    return space


def _decode_op(data: Any, where: str, tensors: Tensors) -> Any:
    name = data.get("op") if isinstance(data, dict) else None
    known = operators()
    if not isinstance(name, str) or name not in known:
        newer = "it may be of a newer release: update dqt"
        raise ProgramError(
            f"{where}: unknown operator {str(name)[:40]!r}, this release has {', '.join(sorted(known))}; {newer}"
        )
    return _decode_as(known[name], data, f"{where} {name}", tensors)


def _decode_as(operator: type[Any], data: Mapping[str, Any], where: str, tensors: Tensors) -> Any:
    fields = {key: value for key, value in data.items() if key != "op"}
    return _decode(fields, operator, where, str(fields.get("out", "")), tensors)


def _encode(value: Any, owner: str, tensors: Tensors) -> Any:
    """Plain JSON of a dataclass, a tuple or a scalar; arrays go to ``tensors`` under ``owner.field``."""
    if is_dataclass(value) and not isinstance(value, type):
        result = {}
        for name in field_types(type(value)):
            item = getattr(value, name)
            if isinstance(item, np.ndarray):
                tensors[f"{owner}.{name}"] = item
                item = f"{owner}.{name}"
            result[name] = _encode(item, owner, tensors)
        return result
    return [_encode(item, owner, tensors) for item in value] if isinstance(value, tuple) else value


def _decode(data: Any, hint: Any, where: str, owner: str, tensors: Tensors) -> Any:
    """The value of type ``hint`` that ``data`` encodes; strict: nothing is converted, filled in or ignored."""
    if get_origin(hint) is tuple:
        items = check_list(data, where)
        kinds = enumerate(tuple_items(hint, len(items), where))
        return tuple(_decode(items[i], kind, f"{where}[{i}]", owner, tensors) for i, kind in kinds)
    if is_dataclass(hint) and isinstance(hint, type):
        types = field_types(hint)
        check_keys(data, types, where)
        return hint(**{k: _decode_field(data[k], kind, k, where, owner, tensors) for k, kind in types.items()})
    check_scalar(data, hint, where)
    return data


def _decode_field(data: Any, hint: Any, name: str, where: str, owner: str, tensors: Tensors) -> Any:
    dtype = array_dtype(hint)
    if dtype is None:
        return _decode(data, hint, f"{where}.{name}", owner, tensors)
    return _take(data, f"{owner}.{name}", dtype, where, tensors)


def _take(reference: Any, name: str, dtype: np.dtype[Any], where: str, tensors: Tensors) -> npt.NDArray[Any]:
    if reference != name:
        raise ProgramError(f"{where}: names a tensor {str(reference)[:80]!r}, need {name!r}")
    if name not in tensors:
        raise ProgramError(f"{where}: tensor {name!r} is missing, or used twice")
    array = tensors.pop(name)
    if array.dtype != dtype:
        raise ProgramError(f"{where}: tensor {name!r} is {array.dtype}, need {dtype}")
    return array
