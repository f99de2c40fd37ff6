"""The file: exact bytes, one clear error for anything else, and a save that never loses what was there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from dqt.program import container, file
from dqt.program.container import digest as digest_of
from dqt.program.file import dumps
from dqt.program.interpret import execute
from dqt.program.operator import operators
from dqt.program.ops.conv import Conv
from dqt.program.ops.linear import Linear
from dqt.program.program import Program, ProgramError, loads
from dqt.testing import Builder, inputs, random_program


@cache
def sample() -> Program:
    b = Builder(30, (2, 5, 5))
    x = b.conv("v0", 4)
    b.control(x, 1, (2, 8))
    x = b.max_pool(b.table(b.conv(x, 4, groups=2)), (3, 3), (1, 1), (1, 1, 1, 1))
    x = b.linear(b.flatten(b.avg_pool(x)), 3, integers=True)
    return b.build(x, choices=(2, 8), classes=["cat", "dog", "zebra – ζ"], mean=[0.5, 0.25])


def header(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def assemble(head: Mapping[str, Any], body: bytes) -> bytes:
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def forged(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The sample's file with a changed graph, or one text in its place, and a digest that fits."""
    head, body = header(dumps(sample()))
    graph = json.loads(head["__metadata__"]["graph"])
    changed = change(graph)
    text = changed if isinstance(changed, str) else json.dumps(graph)
    digest = digest_of(text, load_tensors(dumps(sample())))
    head["__metadata__"] |= {"graph": text, "sha256": digest}
    return assemble(head, body)


def rejected(data: bytes, message: str | None = None) -> None:
    with pytest.raises(ProgramError, match=message) as caught:
        loads(data)
    assert str(caught.value).count("\n") <= 1
    assert len(str(caught.value)) < 500


def listed(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def op_named(graph: dict[str, Any], name: str) -> dict[str, Any]:
    return next(op for op in graph["ops"] if op["op"] == name)


@pytest.mark.parametrize("seed", range(30))
def test_a_round_trip_gives_the_same_bytes_and_integers(seed: int) -> None:
    program = random_program(seed, auto=seed % 2 == 1)
    data = dumps(program)
    again = loads(data)
    assert dumps(again) == data
    assert (again.space, again.values, again.inputs) == (program.space, program.values, program.inputs)
    x = inputs(program, 4)
    for plan in (None, program.space.widths[0]):
        assert_array_equal(execute(again, x, plan).codes, execute(program, x, plan).codes)


def test_the_bytes_are_those_of_the_format() -> None:
    """A program of one instruction, spelled out: what docs/format.md says."""
    program = Builder(0, (1, 1, 2)).build("v0", classes=["a"])
    value = program.values[0]
    graph = (
        '{"dims":[],"info":{"classes":["a"]},'
        '"inputs":[{"dims":[],"hi":0,"kind":"float","lo":0,"name":"input","shape":[1,1,2]}],'
        '"ops":[{"axis":0,"bias":"v0.bias","gain":"v0.gain","op":"Quantize","out":"v0","x":"input"},'
        '{"name":"output","op":"Dequantize","x":"v0"}],'
        '"space":{"choices":[],"controller":[],"edge_width":8,"layers":[],"master":8,"widths":[2,3,4,8]},"states":[],'
        f'"values":[{{"hi":255,"lo":0,"name":"v0","scale":{value.scale!r},"shape":[1,1,2],"zero":0}}]}}'
    )
    gain = struct.pack("<f", np.float32(1 / value.scale))
    digest = b'["v0.bias", "float32", [1]]' + bytes(4) + b'["v0.gain", "float32", [1]]' + gain
    sha = hashlib.sha256(graph.encode() + digest).hexdigest()
    meta = {"format": "dqt", "graph": graph, "sha256": sha, "version": "2"}
    places = {
        f"v0.{field}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
        for i, field in enumerate(("bias", "gain"))
    }
    text = json.dumps({"__metadata__": meta, **places}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    assert dumps(program) == struct.pack("<Q", len(text)) + text + bytes(4) + gain


def test_the_digest_covers_name_dtype_shape_and_bytes() -> None:
    a: dict[str, Any] = {"w": np.arange(4, dtype=np.int8), "b": np.zeros(2, np.int64)}
    spelled = b'g["b", "int64", [2]]' + bytes(16) + b'["w", "int8", [4]]' + bytes(range(4))
    assert digest_of("g", a) == hashlib.sha256(spelled).hexdigest()
    others = [{**a, "w": a["w"].reshape(2, 2)}, {**a, "w": a["w"].view(np.uint8)}, {"v": a["w"], "b": a["b"]}]
    assert len({digest_of("g", t) for t in [a, *others]}) == 4


def test_tensors_carry_the_names_of_what_they_serve() -> None:
    names = set(load_tensors(dumps(sample())))
    assert {"v1.weight", "v1.m", "v1.c"} <= names


@pytest.mark.parametrize("kind", sorted(operators()))
def test_the_page_lists_every_field(kind: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{kind}` |")).replace("`k1` to `k4`", "`k1`")
    names = {item.name for item in fields(operators()[kind])}
    assert names - {"k2", "k3", "k4"} <= set(re.findall(r"`(\w+)`", row))


def test_info_comes_back() -> None:
    again = loads(dumps(sample()))
    assert again.info == {"classes": ["cat", "dog", "zebra – ζ"], "mean": [0.5, 0.25]}


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "net.dqt"
    sample().save(path)
    assert path.read_bytes() == dumps(sample())
    assert dumps(Program.load(path)) == dumps(sample())
    assert listed(tmp_path) == ["net.dqt"]
    with pytest.raises(FileNotFoundError):
        Program.load(tmp_path / "other.dqt")
    path.write_bytes(b"")
    with pytest.raises(ProgramError, match=r"net\.dqt: not a whole safetensors file"):
        Program.load(path)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.dqt"
    path.write_bytes(b"the old one")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        sample().save(path)
    assert path.read_bytes() == b"the old one"
    assert listed(tmp_path) == ["net.dqt"]


def test_saving_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    target, link = tmp_path / "net.dqt", tmp_path / "latest.dqt"
    link.symlink_to(target)
    sample().save(link)
    assert link.is_symlink()
    assert dumps(Program.load(target)) == dumps(sample())


# what is not a file of this format


def test_truncation_at_every_boundary() -> None:
    data = dumps(sample())
    length = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {length + o for t in header(data)[0].values() if "data_offsets" in t for o in t["data_offsets"]}
    near = {edge + d for edge in (0, 8, length, *tensors) for d in (-1, 0, 1)}
    rng = np.random.default_rng(0)
    for end in sorted({e for e in near if 0 <= e < len(data)} | set(rng.integers(0, len(data), 100).tolist())):
        rejected(data[:end])
    rejected(data + b"\0")
    rejected(bytes(100))


def test_flipped_bits_are_found() -> None:
    data = dumps(sample())
    rng = np.random.default_rng(1)
    length = 8 + struct.unpack("<Q", data[:8])[0]
    places = [*range(64), *rng.integers(0, length, 300), *rng.integers(length, len(data), 100), length - 1, length]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        rejected(bytes(changed))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_is_one_error_or_the_same_program(drawn: st.DataObject) -> None:
    data = dumps(sample())
    changed = bytearray(data)
    for _ in range(drawn.draw(st.integers(1, 4))):
        start = drawn.draw(st.integers(0, len(changed)))
        stop = drawn.draw(st.integers(start, min(len(changed), start + 40)))
        changed[start:stop] = drawn.draw(st.binary(max_size=40))
    try:
        again = loads(bytes(changed))
    except ProgramError:
        return
    assert dumps(again) == data


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_one_error(data: bytes, framed: bool) -> None:
    rejected(struct.pack("<Q", len(data)) + data if framed else data)


Json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just("v1")
    | st.just("v1.weight"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_graph_with_a_true_digest_is_one_error_or_a_legal_program(drawn: st.DataObject) -> None:
    """Replace any part of the graph by any JSON: the verifier, not the digest, decides."""

    def change(graph: dict[str, Any]) -> str | None:
        where = drawn.draw(st.sampled_from(places(graph)))
        new = drawn.draw(Json)
        if not where:
            return json.dumps(new)
        node: Any = graph
        for key in where[:-1]:
            node = node[key]
        node[where[-1]] = new
        return None

    data = forged(change)
    try:
        again = loads(data)
    except ProgramError:
        return
    execute(again, inputs(again, 2), "auto")


@pytest.mark.parametrize("length", [0, 1, 7, 2**20, 2**31, 2**32, 2**63, 2**64 - 1])
def test_a_header_length_that_lies(length: int) -> None:
    rejected(struct.pack("<Q", length) + dumps(sample())[8:], "not a whole safetensors file")


def test_tensor_offsets_that_lie() -> None:
    head, body = header(dumps(sample()))
    for offsets in ([0, 2**62], [2**62, 0], [-1, 3], [8, 16], [0, 0]):
        rejected(assemble({**head, "v1.weight": {**head["v1.weight"], "data_offsets": offsets}}, body))
    rejected(assemble({**head, "v1.weight": {**head["v1.weight"], "shape": [2**40, 2**40]}}, body))
    for kind in ("F32", "BF16", "U8", "F8_E4M3", "I4", ""):
        rejected(assemble({**head, "v1.weight": {**head["v1.weight"], "dtype": kind}}, body))


METADATA: dict[str, tuple[Callable[[dict[str, str]], Any], str]] = {
    "no metadata": (lambda m: m.clear(), "no program: its metadata lack"),
    "another format": (lambda m: m.update(format="pt"), "no program"),
    "another version": (
        lambda m: m.update(version="4"),
        "version '4'; this release reads versions '1', '2' and '3': update dqt",
    ),
    "no version": (lambda m: m.pop("version"), "version 'None'"),
    "no graph": (lambda m: m.pop("graph"), r"metadata \['graph'\] are missing or unknown"),
    "no digest": (lambda m: m.pop("sha256"), r"metadata \['sha256'\]"),
    "a stranger": (lambda m: m.update(author="me"), r"metadata \['author'\]"),
    "another digest": (lambda m: m.update(sha256="0" * 64), "does not match its sha256"),
    "digest in capitals": (lambda m: m.update(sha256=m["sha256"].upper()), "does not match its sha256"),
    "another graph": (lambda m: m.update(graph=m["graph"] + " "), "does not match its sha256"),
}


@pytest.mark.parametrize("case", METADATA)
def test_metadata(case: str) -> None:
    change, message = METADATA[case]
    head, body = header(dumps(sample()))
    change(head["__metadata__"])
    rejected(assemble(head, body), message)


def test_a_safetensors_file_of_something_else() -> None:
    rejected(save_tensors({"w": np.zeros(3, np.float32)}), "a safetensors file, but no program")


def test_a_graph_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "MAX_GRAPH", 100)
    rejected(dumps(sample()), "a graph of .* bytes, the most is 100")


GRAPHS: dict[str, tuple[str | Callable[[dict[str, Any]], Any], str]] = {
    "not JSON": ("{", "graph: not JSON"),
    "a list": ("[]", "graph: need an object"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "deep info": (lambda g: g.update(info={"a": json.loads("[" * 50 + "]" * 50)}), "info.a: nested deeper than 32"),
    "NaN": (lambda g: json.dumps({**g, "info": {"a": float("nan")}}), "NaN is not a number of this format"),
    "Infinity": (lambda g: json.dumps({**g, "info": {"a": float("-inf")}}), "-Infinity is not a number"),
    "infinite scale": (lambda g: re.sub('"scale": [^,}]+', '"scale": 1e999', json.dumps(g)), "need a finite number"),
    "long integer": ('{"ops": 1' + "0" * 5000 + "}", "graph: not JSON"),
    "repeated key": (lambda g: json.dumps(g)[:-1] + ', "ops": []}', "repeats a key"),
    "no ops": (lambda g: g.pop("ops"), "field 'ops' is missing"),
    "a stranger": (lambda g: g.update(author=1), "field 'author' is unknown"),
    "ops in an object": (lambda g: g.update(ops={}), "ops: need a list"),
    "an op that is text": (lambda g: g["ops"].append("Add"), "unknown operator"),
    "unknown operator": (lambda g: g["ops"][1].update(op="Eval"), "op 1: unknown operator 'Eval', .* has Add.*newer"),
    "operator of another kind": (lambda g: g["ops"][1].update(op="Value"), "unknown operator 'Value'"),
    "missing field": (lambda g: g["ops"][1].pop("shift"), "op 1 Conv: field 'shift' is missing"),
    "unknown field": (lambda g: g["ops"][1].update(bias=0), "op 1 Conv: field 'bias' is unknown"),
    "text for int": (lambda g: g["ops"][1].update(shift="32"), "op 1 Conv.shift: a value of type str, need int"),
    "float for int": (lambda g: g["ops"][1].update(shift=32.0), "need int"),
    "bool for int": (lambda g: g["ops"][1].update(groups=True), "need int"),
    "int for float": (lambda g: g["values"][0].update(scale=1), "scale: a value of type int, need float"),
    "int for bool": (lambda g: g["ops"][1].update(nearest=0), "need bool"),
    "text for dims": (lambda g: g["inputs"][0].update(dims="height"), "inputs\\[0\\].dims: need a list"),
    "a field of version 1": (lambda g: g["values"][0].update(wide=False), "field 'wide' is unknown"),
    "null": (lambda g: g["ops"][1].update(x=None), "need str"),
    "three strides": (lambda g: g["ops"][1].update(stride=[1, 1, 1]), "op 1 Conv.stride: 3 items, need 2"),
    "65 bits": (lambda g: g["ops"][1].update(lo=2**64), "beyond 64 bits"),
    "surrogate": (lambda g: g["values"][0].update(name="\ud800"), "printable"),
    "tensor inline": (lambda g: g["ops"][1].update(weight=[[1]]), "need 'v1.weight'"),
    "tensor of another": (lambda g: g["ops"][1].update(m="v1.c"), "names a tensor 'v1.c', need 'v1.m'"),
    "tensor missing": (lambda g: g["ops"][1].update(out="v9", weight="v9.weight"), "'v9.weight' is missing"),
    "tensor unused": (lambda g: g["ops"].pop(1), "tensor 'v1.c' belongs to no instruction"),
    "same op twice": (lambda g: g["ops"].insert(1, g["ops"][1]), "'v1.weight' is missing, or used twice"),
    "cycle": (lambda g: g["ops"][1].update(x="v1"), "reads 'v1' before an instruction defines it"),
    "shapes disagree": (lambda g: g["values"][1].update(shape=[4, 5, 4]), r"output has shape \(4, 5, 5\), but v1"),
    "stride disagrees": (lambda g: g["ops"][1].update(stride=[2, 2]), "output has shape"),
    "input disagrees": (lambda g: g["inputs"][0].update(shape=[2, 5, 6]), "output has shape"),
    "absurd padding": (lambda g: g["ops"][1].update(padding=[2**40, 0, 0, 0]), "padding"),
    "absurd stride": (lambda g: g["ops"][1].update(stride=[2**62, 1]), "stride"),
    "zero scale": (lambda g: g["values"][0].update(scale=0.0), "scale 0.0"),
    "info in a list": (lambda g: g.update(info=[]), "info: need a mapping"),
    "no widths": (lambda g: g["space"].update(widths=[]), "space: widths"),
    "widths beyond the master": (lambda g: g["space"].update(widths=[2, 9]), "space: width b=9"),
    "master not a width": (lambda g: g["space"].update(master=7), "space"),
    "edge width": (lambda g: g["space"].update(edge_width=7), "space: edge_width 7"),
    "space in a list": (lambda g: g.update(space=[]), "space: need an object"),
    "macs that lie": (lambda g: g["space"]["layers"][0].update(macs=1), "the space states 1 macs"),
    "overflow": (lambda g: op_named(g, "Linear").update(hi=2**40), "clamp"),
}  # fmt: skip


@pytest.mark.parametrize("case", GRAPHS)
def test_a_graph_with_a_true_digest_is_still_checked(case: str) -> None:
    change, message = GRAPHS[case]

    def text_or_changed(graph: dict[str, Any]) -> str | None:
        new = change if isinstance(change, str) else change(graph)
        return new if isinstance(new, str) else None

    rejected(forged(text_or_changed), message)


def test_arrays_of_any_memory_order_are_written_by_value() -> None:
    program = sample()
    turned = [
        replace(op, weight=np.asfortranarray(op.weight)) if isinstance(op, Conv | Linear) else op for op in program.ops
    ]
    assert dumps(replace(program, ops=tuple(turned))) == dumps(program)


def test_an_unverified_program_cannot_be_written_back() -> None:
    with pytest.raises(ProgramError, match="plain JSON"):
        replace(sample(), info={"scale": np.float32(1)})


def test_every_file_is_written_by_value() -> None:
    turned, skipped = np.arange(6, dtype=np.int8).reshape(2, 3).T, np.arange(6)[::2]
    tensors: dict[str, npt.NDArray[Any]] = {"turned": turned, "skipped": skipped, "one": np.array(3)}
    _, found = container.opened(b"".join(container.closed({}, tensors)))
    for name, array in tensors.items():
        assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
