"""The ``.dqt`` file: safetensors, whose metadata hold the graph as JSON (docs/format.md). Reading runs no code."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from dqt.arith.files import write_file
from dqt.arith.plan import Space
from dqt.program.before import check_keys, check_list, upgraded
from dqt.program.info import frozen
from dqt.program.operator import operators
from dqt.program.program import Program, ProgramError
from dqt.program.schema import array_dtype, check_scalar, field_types, tuple_items
from dqt.program.signature import Entry, Signature
from dqt.program.values import Value
from dqt.program.verify import PARTS

if TYPE_CHECKING:
    import numpy.typing as npt

FORMAT, VERSION, BEFORE = "dqt", "2", "1"
KEYS = frozenset({"format", "version", "graph", "sha256"})
MAX_GRAPH = 2**26
"""Most bytes of a graph; a network of a thousand layers needs about a quarter of a mebibyte."""
Tensors = dict[str, "npt.NDArray[Any]"]


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write ``program`` to ``path``, atomically: an existing file stays whole until the new one is.

    Raises:
        OSError: it cannot be written, say on a full disk; see :func:`dqt.arith.files.write_file`.
    """
    write_file(path, dumps(program))


def load(path: str | os.PathLike[str]) -> Program:
    """Read and verify a program.

    Raises:
        ProgramError: the file is truncated, changed, of another version, or not a legal program.
        OSError: it cannot be read.
    """
    try:
        return loads(Path(path).read_bytes())
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from None


def dumps(program: Program) -> bytes:
    """The bytes of a ``.dqt`` file; the same program gives the same bytes."""
    tensors: Tensors = {}
    graph = {
        "space": _encode(program.space, "", tensors),
        "ops": [{"op": type(op).__name__, **_encode(op, op.writes() or "", tensors)} for op in program.ops],
        "info": dict(program.info),
        **{name: _encode(getattr(program, name), "", tensors) for name in PARTS},
    }
    text = json.dumps(graph, sort_keys=True, separators=(",", ":"), allow_nan=False)
    meta = {"format": FORMAT, "graph": text, "sha256": digest(text, tensors), "version": VERSION}
    return _with_metadata(save_tensors(tensors), meta)


def loads(data: bytes) -> Program:
    """The program in the bytes of a ``.dqt`` file, verified.

    Raises:
        ProgramError: anything is wrong with them; no other error.
    """
    try:
        tensors = load_tensors(data)
        meta = _metadata(data)
    except (SafetensorError, ValueError, KeyError, AttributeError, struct.error) as error:
        raise ProgramError(f"not a whole safetensors file ({_short(error)}): get the file again") from None
    _check_metadata(meta)
    if digest(meta["graph"], tensors) != meta["sha256"]:
        raise ProgramError("the content does not match its sha256: the file was changed or damaged; get it again")
    graph = _parse(meta["graph"], "graph")
    return _program(*(upgraded(graph, tensors) if meta["version"] == BEFORE else (graph, tensors)))


def outline(data: bytes) -> tuple[Signature, str]:
    """The signature and the digest of the bytes of a ``.dqt`` file that are verified: only their header is read.

    Raises:
        ProgramError: it is nothing that a verified file could hold.
    """
    meta = _metadata(data)
    graph, made = _parse(meta["graph"], "graph"), Tensors()
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
            tensors = made or {item[field]: _tensor(data, item[field]) for field in ("gain", "bias")}
            entries[item["x"]] = Entry.of(_decode_op(item, "op", tensors), value(item["out"]))
    outputs = {item["name"]: value(item["x"]) for item in graph["ops"] if item["op"] == "Dequantize"}
    space = _decode(graph["space"], Space, "space", "", {})
    info = frozen(graph["info"])
    return Signature(space=space, entries=entries, outputs=outputs, info=info, **held), meta["sha256"]


def _tensor(data: bytes, name: str) -> npt.NDArray[np.float32]:
    """A float32 tensor of a file that is verified, of one dimension."""
    length = struct.unpack("<Q", data[:8])[0]
    start, end = json.loads(data[8 : 8 + length])[name]["data_offsets"]
    return np.frombuffer(data[8 + length + start : 8 + length + end], dtype="<f4").astype(np.float32)


def digest(graph: str, tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256, in hexadecimal, over the graph and over each tensor in the order of names: name, dtype, shape, bytes."""
    sha = hashlib.sha256(graph.encode())
    for name in sorted(tensors):
        array = tensors[name]
        sha.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _with_metadata(data: bytes, meta: Mapping[str, str]) -> bytes:
    """``data`` with metadata, in sorted order: the library's own order changes from run to run."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.dumps(
        {"__metadata__": dict(sorted(meta.items())), **json.loads(data[8 : 8 + length])}, separators=(",", ":")
    )
    text = header.encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _metadata(data: bytes) -> Any:
    """The metadata of the header, as they are."""
    return _parse(data[8 : 8 + struct.unpack("<Q", data[:8])[0]], "header").get("__metadata__", {})


def _check_metadata(meta: Any) -> None:
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ProgramError('a safetensors file, but no program: its metadata lack "format": "dqt"')
    if meta.get("version") not in (VERSION, BEFORE):
        found = str(meta.get("version"))[:20]
        read = f"this release reads versions {BEFORE!r} and {VERSION!r}"
        raise ProgramError(f"file version {found!r}; {read}: update dqt, or lower the network again")
    if set(meta) != KEYS:
        raise ProgramError(f"metadata {sorted(set(meta) ^ KEYS)[:3]} are missing or unknown; need {sorted(KEYS)}")
    if len(meta["graph"]) > MAX_GRAPH:
        raise ProgramError(f"a graph of {len(meta['graph'])} bytes, the most is {MAX_GRAPH}")


def _program(graph: Any, tensors: Tensors) -> Program:
    check_keys(graph, ("space", "ops", "info", *PARTS), "graph")
    rest = dict(tensors)
    try:
        space = _decode(graph["space"], Space, "space", "", rest)
    except ProgramError:
        raise
    except ValueError as error:  # PlanError, or a width that the space itself refuses
        raise ProgramError(f"space: {error}") from None
    parts = {name: _decode(graph[name], hint, name, "", rest) for name, hint in PARTS.items()}
    ops = tuple(_decode_op(item, f"op {i}", rest) for i, item in enumerate(check_list(graph["ops"], "ops")))
    if rest:
        raise ProgramError(f"tensor {min(rest)!r} belongs to no instruction")
    return Program(space=space, ops=ops, info=graph["info"], **parts)


def _decode_op(data: Any, where: str, tensors: Tensors) -> Any:
    name = data.get("op") if isinstance(data, dict) else None
    known = operators()
    if not isinstance(name, str) or name not in known:
        newer = "it may be of a newer release: update dqt"
        raise ProgramError(
            f"{where}: unknown operator {str(name)[:40]!r}, this release has {', '.join(sorted(known))}; {newer}"
        )
    fields = {key: value for key, value in data.items() if key != "op"}
    return _decode(fields, known[name], f"{where} {name}", str(fields.get("out", "")), tensors)


def _encode(value: Any, owner: str, tensors: Tensors) -> Any:
    """Plain JSON of a dataclass, a tuple or a scalar; arrays go to ``tensors`` under ``owner.field``."""
    if is_dataclass(value) and not isinstance(value, type):
        result = {}
        for name in field_types(type(value)):
            item = getattr(value, name)
            if isinstance(item, np.ndarray):
                tensors[f"{owner}.{name}"] = np.asarray(item, order="C")  # safetensors writes memory as it lies
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


def _parse(text: bytes | str, where: str) -> Any:
    """Strict JSON: no repeated key, no NaN, no deep nesting."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ProgramError(f"{where}: nested too deeply") from None
    except ProgramError:
        raise
    except ValueError as error:
        raise ProgramError(f"{where}: not JSON ({_short(error)})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ProgramError("a JSON object repeats a key")
    return result


def _refuse(name: str) -> None:
    raise ProgramError(f"{name} is not a number of this format")


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
