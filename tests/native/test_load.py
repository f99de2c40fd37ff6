"""The native loader takes exactly the files that the reader in Python takes, and any bytes leave it whole."""

from __future__ import annotations

import hashlib
import json
import random
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as save_tensors

from dqt.arith.bounds import INT64
from dqt.arith.plan import Space
from dqt.program.file import dumps
from dqt.program.ops.add import Add
from dqt.program.ops.avg_pool import AvgPool
from dqt.program.ops.conv import Conv
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.linear import Linear
from dqt.program.ops.multiply import Multiply
from dqt.program.ops.quantize import Quantize, plain_gain
from dqt.program.ops.rescale import Rescale
from dqt.program.ops.table import Table
from dqt.program.program import Program, ProgramError, loads
from dqt.program.values import Input, Value
from dqt.program.verify import verify
from dqt.shipped import example
from dqt.testing import Builder, random_model, random_program
from tests.native.build import NATIVE, needs
from tests.native.conftest import Run
from tests.native.version_1 import version_1
from tests.program import test_file, test_verify, test_verify_attention
from tests.program.test_file import GRAPHS, assemble, forged, header, places
from tests.program.test_verify import Change, op, put

pytestmark = [needs(*NATIVE), pytest.mark.timeout(1500)]  # the first of them builds


def verdict(data: bytes) -> str:
    """What the reader in Python says."""
    try:
        loads(data)
    except ProgramError as error:
        return f"error: {error}"
    return "ok"


def agree(run: Run, folder: Path, files: Mapping[str, bytes]) -> list[bool]:
    """Load every file with both readers, which must agree; which of them are legal."""
    paths = [folder / f"{i}.dqt" for i in range(len(files))]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    lines = run(*paths)
    assert len(lines) == len(files)
    for (name, data), line in zip(files.items(), lines, strict=True):
        python = verdict(data)
        assert (line == "ok") == (python == "ok"), f"{name}: native {line!r}, Python {python!r}"
        assert line == "ok" or (line.startswith("error: ") and line.isascii() and len(line) < 500)
    return [line == "ok" for line in lines]


def unverified(program: Program, changed: Mapping[str, Any]) -> Program:
    """A program that nothing has checked."""
    new = object.__new__(Program)
    for item in fields(Program):
        object.__setattr__(new, item.name, changed.get(item.name, getattr(program, item.name)))
    return new


def defects() -> Iterator[tuple[str, bytes]]:
    """The verifier's defects, as far as a file can hold them."""
    for module in (test_verify, test_verify_attention):
        program = module.sample()
        for name, (change, _) in module.DEFECTS.items():
            try:
                yield name, dumps(unverified(program, change(program)))
            except (TypeError, ValueError, AttributeError):  # what JSON or safetensors cannot write
                continue
    b = Builder(21, (2, 3, 3), master=4, widths=(2, 4))
    small = b.build(b.linear(b.flatten(b.table(b.conv("v0", 2))), 2))
    for name, change in {
        "table": op(Table, table=put(3, 16)),
        "flat table": op(Table, table=lambda t: t[:, None]),
        "weight above": op(Conv, weight=put((1, 0, 0, 0), 8)),
        "weight below": op(Linear, weight=put((0, 0), -9)),
    }.items():
        yield f"4 bits: {name}", dumps(unverified(small, change(small)))


def containers() -> Iterator[tuple[str, bytes]]:
    """Damage to the safetensors file around the program."""
    data = dumps(test_file.sample())
    head, body = header(data)
    text = json.dumps(head).encode()
    for length in (0, 1, 7, 2**20, 2**31, 2**32, 2**63, 2**64 - 1):
        yield f"length {length}", struct.pack("<Q", length) + data[8:]
    rng = np.random.default_rng(0)
    for end in (0, 7, 8, 9, len(data) - 1, *rng.integers(0, len(data), 40).tolist()):
        yield f"end {end}", data[:end]
    for place in (*range(16), *rng.integers(0, len(data), 100).tolist()):
        yield f"flip {place}", data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]
    values: tuple[Any, ...]
    values = ([0, 2**62], [2**62, 0], [-1, 3], [8, 16], [0, 0], [0], [0, 2**64], "0", [0.0, 8], [None, 1])
    for offsets in values:
        yield f"offsets {offsets}", changed(head, body, data_offsets=offsets)
    values = ([2**40, 2**40], [], [0], [-1], 3, [2**63], [4, 2, 3, 3, 1], [1.0], [True])
    for shape in values:
        yield f"shape {shape}", changed(head, body, shape=shape)
    values = ("F32", "BF16", "U8", "F8_E4M3", "I4", "", 8, None, "i8")
    for dtype in values:
        yield f"dtype {dtype}", changed(head, body, dtype=dtype)
    for key in ("format", "version", "graph", "sha256", "other"):
        values = ("", "1", "2", "3", "4", "dqt ", 1, None, {})
        for value in values:
            yield f"{key} {value!r}", assemble({**head, "__metadata__": {**head["__metadata__"], key: value}}, body)
    values = (None, {}, [], "dqt")
    for meta in values:
        yield f"metadata {meta}", assemble({**head, "__metadata__": meta}, body)
    yield "another file", save_tensors({"w": np.zeros(3, np.float32)})
    yield "more bytes", data + b"\0"
    yield "more tensors", assemble({**head, "w": {"dtype": "I8", "shape": [0], "data_offsets": [0, 0]}}, body)
    yield "spaces", struct.pack("<Q", len(text) + 9) + b"  " + text + b" \n\t\r   " + body
    yield "a mark", struct.pack("<Q", len(text) + 3) + b"\xef\xbb\xbf" + text + body
    yield "not UTF-8", struct.pack("<Q", len(text) + 1) + text.replace(b'"dqt"', b'"dqt\xff"') + body
    yield "half a pair", assemble({**head, "\ud800": head["v1.m"]}, body)


def changed(head: Mapping[str, Any], body: bytes, **fields: Any) -> bytes:
    return assemble({**head, "v1.weight": {**head["v1.weight"], **fields}}, body)


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "0" + "]" * depth)


ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "long integer": lambda g: g.update(info={"seed": 10**30}),
    "very long integer": lambda g: json.dumps(g).replace('"info": {', '"info": {"a": 1' + "0" * 4300 + ","),
    "surrogate": lambda g: g.update(info={"\ud800": "\udfff\ud83d", "a": "\ud800A"}),
    "surrogate before another escape": lambda g: g.update(info={"a": "\ud800é\ud800\n"}),
    "tiny": lambda g: json.dumps(g).replace('"info": {', '"info": {"a": [1e-999, 0e999, 0.0001e-400, 4.9e-324],'),
    "tiny with a long mantissa": lambda g: json.dumps(g).replace('"info": {', f'"info": {{"a": 1{"0" * 400}.0e-500,'),
    "huge with a long mantissa": lambda g: json.dumps(g).replace('"info": {', f'"info": {{"a": 1{"0" * 400}.0e-50,'),
    "huge": lambda g: json.dumps(g).replace('"info": {', '"info": {"a": -1E+400,'),
    "deepest": lambda g: g.update(info={"a": nested(31)}),
    "too deep": lambda g: g.update(info={"a": nested(32)}),
    "repeated in info": lambda g: json.dumps(g).replace('"info": {', '"info": {"a": 1, "\\u0061": 1,'),
    "escapes": lambda g: g.update(info={'"\\/\b\f\n\r\t\0\x7f': "é𝄞\ufffe\u2028"}),
    "control": lambda g: json.dumps(g).replace('"info": {', '"info": {"\n": 1,'),
    "bad escape": lambda g: json.dumps(g).replace('"info": {', '"info": {"\\x": 1,'),
    "short escape": lambda g: json.dumps(g).replace('"info": {', '"info": {"\\u12": 1,'),
    "white": lambda g: " \t\r\n" + json.dumps(g, indent=1) + "\n ",
    "vertical white": lambda g: "\v" + json.dumps(g),
    "more": lambda g: json.dumps(g) + " {}",
    "comma": lambda g: json.dumps(g)[:-1] + ",}",
    "leading zero": lambda g: json.dumps(g).replace('"groups": 1', '"groups": 01'),
    "plus": lambda g: json.dumps(g).replace('"groups": 1', '"groups": +1'),
    "point": lambda g: json.dumps(g).replace('"groups": 1', '"groups": 1.'),
    "minus zero": lambda g: json.dumps(g).replace('"zero": 0', '"zero": -0'),
    "long name": lambda g: json.dumps(g).replace("block.0", "é" * 512),
    "longer name": lambda g: json.dumps(g).replace("block.0", "é" * 513),
    "wide space": lambda g: json.dumps(g).replace("block.0", "a\u3000b"),
    "soft hyphen": lambda g: json.dumps(g).replace("block.0", "a\u00adb"),
    "private": lambda g: json.dumps(g).replace("block.0", "\U000f0000"),
    "letters of every plane": lambda g: json.dumps(g).replace("block.0", "a\xa1ΩЖ中𝄞🙂"),
    "smallest scale": lambda g: g["values"][0].update(scale=2.0**-100),
    "below": lambda g: g["values"][0].update(scale=float(np.nextafter(2.0**-100, 0))),
    "largest scale": lambda g: g["values"][0].update(scale=2.0**100),
    "above": lambda g: g["values"][0].update(scale=float(np.nextafter(2.0**100, np.inf))),
    "an input too many": lambda g: g["inputs"].append({**g["inputs"][0], "name": "other"}),
    "an input of an empty kind": lambda g: g["inputs"][0].update(kind=""),
    "an input without dims": lambda g: g["inputs"][0].pop("dims"),
    "dims of no name": lambda g: g["inputs"][0].update(dims=["", "", ""]),
    "dims too few": lambda g: g["inputs"][0].update(dims=["", ""]),
    "dims that are not declared": lambda g: g["inputs"][0].update(dims=["", "h", ""]),
    "a named size": lambda g: name_height(g, 1),
    "a size out of range": lambda g: name_height(g, 6),
    "a size of 0": lambda g: name_height(g, 0),
    "a size of nothing": lambda g: g.update(dims=[{"name": "h", "least": 1, "most": 9}]),
    "a state that nobody stores": lambda g: g["states"].append(
        {"name": "s", "shape": [1], "scale": 1.0, "zero": 0, "lo": 0, "hi": 255, "dims": []}
    ),
    "a state that is no object": lambda g: g["states"].append("s"),
    "interval beyond 32 bits": lambda g: g["values"][-1].update(lo=-(2**31)),
    "interval beyond 64 bits": lambda g: g["values"][-1].update(lo=-(2**63) - 1),
    "zero beyond 32 bits": lambda g: g["values"][0].update(zero=2**32),
    "nearest is a number": lambda g: g["ops"][1].update(nearest=1),
    "exponents too few": lambda g: g["ops"][1].update(weight_exponents=[1]),
    "exponents": lambda g: g["ops"][1].update(weight_exponents=[2, 2, 2, 0], input_exponents=[1, 0, 1, 0]),
    "exponents too large": lambda g: g["ops"][1].update(input_exponents=[3, 0, 0, 0]),
    "an exponent of the master": lambda g: g["ops"][1].update(input_exponents=[0, 0, 0, 1]),
    "outputs of one name": lambda g: g["ops"].append(g["ops"][-1]),
    "another output": lambda g: g["ops"].append({**g["ops"][-1], "name": "other"}),
    "an output in the middle": lambda g: g["ops"].insert(2, {"op": "Dequantize", "x": "v0", "name": "first"}),
}


def name_height(graph: dict[str, Any], least: int) -> None:
    """The height of the input gets a name."""
    graph["dims"] = [{"name": "h", "least": least, "most": 9}]
    graph["inputs"][0]["dims"] = ["", "h", ""]


def graphs() -> Iterator[tuple[str, bytes]]:
    """Wrong and odd graphs, each with a true digest."""
    for name, change in {**{key: change for key, (change, _) in GRAPHS.items()}, **ODD}.items():

        def new(graph: dict[str, Any], change: Any = change) -> str | None:
            text = change if isinstance(change, str) else change(graph)
            return text if isinstance(text, str) else None

        yield f"graph {name}", forged(new)


def node_at(graph: Any, path: Sequence[Any]) -> Any:
    for key in path:
        graph = graph[key]
    return graph


JUNK: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 8, 9, 16, 33, 128, 255, 2**24, 2**24 + 1, 2**31, 2**62, 2**63, -(2**63),
    0.5, 1.0, 1e300, "", "v1", "v2", "input", "integer", "block.0", "v1.weight", "Table", [], [1], [1, 1],
    [0, 0, 0, 0], [[]], {},
)  # fmt: skip


def random_graph(rng: random.Random) -> Callable[[dict[str, Any]], None]:
    """Replace a part of the graph by junk or by another part, drop it, or double it."""

    def change(graph: dict[str, Any]) -> None:
        every = places(graph)[1:]
        *path, key = rng.choice(every)
        parent = node_at(graph, path)
        kind = rng.random()
        if kind < 0.5:
            parent[key] = rng.choice(JUNK)
        elif kind < 0.8:
            parent[key] = json.loads(json.dumps(node_at(graph, rng.choice(every))))
        elif kind < 0.9:
            del parent[key]
        elif isinstance(parent, list):
            parent.insert(rng.randrange(len(parent) + 1), parent[key])

    return change


def renamed(program: Program) -> Program:
    """Values, and so tensors, whose names need every kind of escape in the digest."""

    inputs = {given.name for given in program.inputs}

    def new(name: str) -> str:
        return name if name in inputs else f'{name}"\\/é\u2260𝄞'

    def fields_of(item: Any) -> dict[str, Any]:
        old = {key: getattr(item, key) for key in ("x", "out", "a", "b", "name", "xs") if hasattr(item, key)}
        return {key: tuple(map(new, name)) if key == "xs" else new(name) for key, name in old.items()}

    values = tuple(replace(value, **fields_of(value)) for value in program.values)
    return replace(program, values=values, ops=tuple(replace(item, **fields_of(item)) for item in program.ops))


@pytest.fixture(scope="module")
def legal() -> dict[str, bytes]:
    programs = {f"random {seed}": random_program(seed, auto=seed % 2 == 1) for seed in range(40)}
    programs |= {f"model {seed}": random_model(seed, auto=seed % 2 == 1) for seed in range(10)}
    programs |= {"file": test_file.sample(), "verify": test_verify.sample()}
    programs |= {"no layer": Builder(23, (1, 2, 2)).build("v0"), "input alone": Builder(0, (1, 1, 2)).build("v0")}
    programs["names"] = renamed(test_verify.sample())
    return {name: dumps(program) for name, program in programs.items()}


def test_legal_programs_load(run: Run, legal: dict[str, bytes], tmp_path: Path) -> None:
    assert all(agree(run, tmp_path, legal))


def test_both_readers_refuse_the_same_files(run: Run, tmp_path: Path) -> None:
    verified = agree(run, tmp_path, dict(defects()))
    assert verified.count(False) > 100
    assert agree(run, tmp_path, dict(containers())).count(False) > 180
    odd = agree(run, tmp_path, dict(graphs()))
    assert odd.count(False) > 55
    assert odd.count(True) > 8


LIES: dict[str, str | Callable[[dict[str, Any]], Any]] = {
    "zero on the grid": lambda g: g["values"][0].update(zero=64),
    "zero of 2^32": lambda g: g["values"][0].update(zero=2**32),
    "wide with a zero": lambda g: g["values"][-1].update(zero=128, wide=True),
    "a scale": lambda g: g["values"][0].update(scale=g["values"][0].pop("step")),
    "an interval": lambda g: g["values"][0].update(lo=0, hi=255),
    "wide is a number": lambda g: g["values"][0].update(wide=0),
    "no step": lambda g: g["values"][0].update(step=0.0),
    "a step of an integer": lambda g: g["values"][0].update(step=1),
    "codes that become wide": lambda g: g["values"][1].update(wide=True, zero=0),
    "another input": lambda g: g["ops"][0].update(x="image"),
    "a gain": lambda g: g["ops"][0].update(gain="v0.gain"),
    "two entries": lambda g: g["ops"].insert(1, {**g["ops"][0], "out": "v1"}),
    "two ends": lambda g: g["ops"].insert(2, {"op": "Dequantize", "x": "v0"}),
    "an end in the middle": lambda g: g["ops"].insert(3, g["ops"].pop()),
    "no instruction": lambda g: g.update(ops=[]),
    "nearest": lambda g: g["ops"][1].update(nearest=False),
    "a name of the output": lambda g: g["ops"][-1].update(name="output"),
    "a read": lambda g: g["ops"].insert(1, {"op": "Read", "x": "input", "out": "v1"}),
    "inputs": lambda g: g.update(inputs=[]),
    "states": lambda g: g.update(states=[]),
    "no shape": lambda g: g.update(input_shape=[]),
    "a shape of text": lambda g: g.update(input_shape="225"),
    "a master of 9": lambda g: g["space"].update(master=9),
    "a huge master": lambda g: g["space"].update(master=2**62),
    "no master": lambda g: g["space"].pop("master"),
    "a space in a list": lambda g: g.update(space=[]),
    "a reshape that lies": lambda g: next(v for v in g["values"] if len(v["shape"]) == 1).update(shape=[5]),
    "a shape that is inferred": lambda g: next(v for v in g["values"] if len(v["shape"]) == 1).update(shape=[-1]),
    "text": "[]",
}
TENSORS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a tensor of a gain": lambda t: t.update({"v0.gain": np.ones(1, np.float32)}),
    "constants of int32": lambda t: t.update({k: v.astype(np.int32) for k, v in t.items() if k.endswith(".data")}),
}


def programs_of_version_1() -> Iterator[Program]:
    yield test_file.sample()
    b = Builder(5, (2, 3, 4))
    x = b.binary(Add, b.conv("v0", 3), b.constant((3, 1, 4)))
    yield b.build(b.linear(b.flatten(b.table(b.pad(x, (0, 1, 0), (0, 0, 1)))), 4, integers=True))


def test_both_readers_agree_on_version_1(run: Run, tmp_path: Path) -> None:
    """Whole files, files that lie, and random damage to their graphs; the shipped network is one of them."""
    rng = random.Random(8)
    for program in programs_of_version_1():
        assert agree(run, tmp_path, {"whole": version_1(program)}) == [True]
        lies = {name: version_1(program, change) for name, change in LIES.items()}
        lies |= {name: version_1(program, damage=change) for name, change in TENSORS.items()}
        assert agree(run, tmp_path, lies).count(True) <= 2
        damaged = {f"{i}": version_1(program, random_graph(rng)) for i in range(200)}
        assert agree(run, tmp_path, damaged).count(False) > 130
    assert agree(run, tmp_path, {"shipped": Path(example()).read_bytes()}) == [True]


def test_both_readers_agree_on_random_graphs(run: Run, tmp_path: Path) -> None:
    rng = random.Random(7)
    agreed = agree(run, tmp_path, {f"{i}": forged(random_graph(rng)) for i in range(600)})
    assert agreed.count(False) > 400
    assert agreed.count(True) > 10


def last_legal(program: Program, change: Callable[[int], Change], most: int) -> int:
    """The integer farthest from 0 towards ``most`` that the verifier in Python takes."""
    sign = 1 if most > 0 else -1
    good, bad = 0, abs(most) + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            verify(unverified(program, change(sign * middle)(program)))
            good = middle
        except ProgramError:
            bad = middle
    return sign * good


def scalar(kind: type[Any], name: str, value: int) -> Change:
    return op(kind, **{name: value})


def offset(kind: type[Any], which: int, place: tuple[int, int], value: int) -> Change:
    return op(kind, which, c=put(place, value))


def test_the_proofs_have_the_same_last_legal_integer(run: Run, tmp_path: Path) -> None:
    """Every constant that overflow bounds: the last one that is proved, and the next, which is not."""
    program = test_verify.sample()
    changes: dict[str, Callable[[int], Change]] = {
        "Rescale c": lambda v: op(Rescale, c=put(0, v)),
        "AvgPool c": lambda v: op(AvgPool, -1, c=put((-1, -1), v)),
        **{f"Add {k}": partial(scalar, Add, k) for k in ("k1", "k2", "k3")},
        **{f"Multiply {k}": partial(scalar, Multiply, k) for k in ("k1", "k2", "k3", "k4")},
        **{f"Conv {which} c": partial(offset, Conv, which, (-1, 2)) for which in (0, 1)},
        **{f"Linear {which} c": partial(offset, Linear, which, (0, 0)) for which in (0, 1, 2)},
    }
    files = {}
    for name, change in changes.items():
        for most in (INT64, -INT64 - 1):
            last = last_legal(program, change, most)
            assert 0 < abs(last) < INT64
            for value in (last, last + (1 if most > 0 else -1)):
                files[f"{name} {value}"] = dumps(unverified(program, change(value)(program)))
    assert agree(run, tmp_path, files) == [True, False] * (len(files) // 2)


def padded(*paddings: tuple[int, int, int, int]) -> bytes:
    """Convolutions of one value with these paddings, and strides that leave one output of each."""
    far = 2**24
    b = Builder(3, (1, 1, 1))
    xs = [b.conv("v0", 1, (1, 1), stride=(far, far), padding=(0, 0, 0, 0)) for _ in paddings]
    program = b.build(xs[-1])
    for which, padding in enumerate(paddings):
        program = unverified(program, op(Conv, which, padding=padding)(program))
    return dumps(program)


def test_a_border_serves_all_readers_of_a_value(run: Run, tmp_path: Path) -> None:
    """Each padding is legal; together they would be an image of 2^46 elements, more than any address."""
    tall, broad = (2**23, 0, 0, 0), (0, 0, 0, 2**23)
    files = {"tall": padded(tall), "broad": padded(broad), "both": padded(tall, broad), "twice": padded(tall, tall)}
    assert agree(run, tmp_path, files) == [True, True, False, True]


def test_accumulators_have_the_same_bound(run: Run, tmp_path: Path) -> None:
    program = test_verify.sample()
    taps = 2**31 // (127 * 255) + 1  # the first count of the largest products that int32 does not hold
    value, out = Value("v0", (taps,), 1.0, 0, 0, 255), Value("v1", (2,), 1.0, 0, -9, 9)

    def file(weight: int, count: int, last: int = 0) -> bytes:
        array = np.zeros((2, taps), np.int8)
        array[1, :count] = weight
        array[1, -1] = last
        m, c = np.ones((1, 2), np.int32), np.zeros((1, 2), np.int64)
        layer = Linear("fc", "v0", "v1", array, m, c, 32, -5, 5)
        space = Space(8, (8,), 8, (layer.counts({"v0": value, "v1": out}, edge=True),))
        ops = (Quantize("input", "v0", *plain_gain(1.0), 0), layer, Dequantize("v1", "output"))
        parts: dict[str, Any] = {"space": space, "values": (value, out), "ops": ops, "info": {}}
        return dumps(unverified(program, {**parts, "inputs": (Input("input", (taps,)),), "states": (), "dims": ()}))

    room = (2**31 - 1 - 127 * 255 * (taps - 1)) // 255  # what the last tap may weigh
    files = {
        "fits": file(127, taps - 1, room),
        "beyond": file(127, taps - 1, room + 1),
        "all": file(127, taps - 1, 127),
    }
    files |= {"negative": file(-128, 2**31 // (128 * 255)), "below": file(-128, 2**31 // (128 * 255), -1)}
    assert agree(run, tmp_path, files) == [True, False, False, True, False]


@pytest.mark.parametrize("name", ["verify", "file", "random 3", "random 6"])
def test_damage_is_one_error_or_a_program(run: Run, legal: dict[str, bytes], name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.dqt"
    path.write_bytes(legal[name])
    (line,) = run("--fuzz", 2500, 11, path)
    counts = re.fullmatch(r"2500 files: (\d+) loaded, (\d+) refused, (\d+) kinds of outcome", line)
    assert counts is not None
    loaded, refused, kinds = (int(count) for count in counts.groups())
    assert loaded > 10  # the damage is not always found at the door
    assert refused > 1000
    assert kinds > 80


def test_sha256(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000):
        path = tmp_path / f"{length}"
        path.write_bytes(rng.bytes(length))
        assert run("--sha256", path) == [hashlib.sha256(path.read_bytes()).hexdigest()]
