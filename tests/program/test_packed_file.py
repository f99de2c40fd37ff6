"""The file of a packed program: its size, its layout, and one clear error for whatever else it may hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from dqt.program.container import digest
from dqt.program.file import described, dumps, outline
from dqt.program.layered import Layered
from dqt.program.program import Program, ProgramError, loads
from dqt.program.signature import Signature
from dqt.testing import Builder
from tests.program.test_file import assemble, header
from tests.program.test_pack import WIDTHS, sample


def test_the_file_is_written_as_it_was_read() -> None:
    for width in WIDTHS:
        data = dumps(sample().pack(width))
        assert dumps(loads(data)) == data
        meta = header(data)[0]["__metadata__"]
        assert meta["version"] == ("2" if width == 8 else "3")
        assert ("packed" in meta) == ("packed" in json.loads(meta["graph"])["space"]) == (width != 8)
        assert outline(data) == (Signature.of(loads(data)), meta["sha256"])


def big(width: int = 8) -> Program:
    b = Builder(1, (200,), widths=(2, 3, 4, 5, 6, 7, 8))
    x = b.linear("v0", 200)
    program = b.build(b.linear(x, 200))
    layers = tuple(replace(layer, edge=False) for layer in program.space.layers)
    return replace(program, space=replace(program.space, layers=layers)).pack(width)


def test_weights_take_no_more_than_their_bits() -> None:
    """Weights of the builder are uniform: nothing is gained by deflating them."""
    weights = sum(op.weight.size for op in big().ops if isinstance(op, Layered))
    rest = len(dumps(big())) - weights
    for width in (2, 3, 4, 5, 6, 7):
        assert len(dumps(big(width))) <= weights * width / 8 + rest + 800  # the table


def deflated(width: int) -> Program:
    """The same with weights that are not uniform, as those of trained networks are not."""
    program, rng = big(), np.random.default_rng(0)

    def normal(op: Any) -> Any:
        weight = np.clip(rng.normal(0, 20, op.weight.shape), -128, 127).astype(np.int8)
        return replace(op, weight=weight)

    ops = tuple(normal(op) if isinstance(op, Layered) else op for op in program.ops)
    return replace(program, ops=ops).pack(width)


@pytest.mark.parametrize("width", [2, 3, 4, 5, 6, 7])
def test_weights_that_repeat_are_deflated(width: int) -> None:
    packed = deflated(width)
    data = dumps(packed)
    table = {each["name"]: each for each in json.loads(header(data)[0]["__metadata__"]["packed"])}
    weights = {f"{op.out}.weight": op.weight for op in packed.ops if isinstance(op, Layered)}
    assert all(table[name]["deflated"] for name in weights)
    assert len(data) < 0.95 * len(dumps(big(width)))
    tensors = tensors_of(loads(data))
    for name, weight in weights.items():
        assert_array_equal(tensors[name], weight)


def test_the_digest_is_that_of_the_tensors_as_they_are_read() -> None:
    """So it does not depend on how well the deflater of a machine does."""
    data = dumps(sample().pack(4))
    meta = header(data)[0]["__metadata__"]
    tensors = tensors_of(loads(data))
    assert digest(meta["graph"], tensors) == meta["sha256"]


def tensors_of(program: Program) -> dict[str, Any]:
    """Every tensor of its file, as it is read."""
    return described(program)[1]


def forged(change: Callable[[list[dict[str, Any]], dict[str, Any]], Any], width: int = 3) -> bytes:
    """A packed file with another table or other tensors, and a digest that fits nothing."""
    data = dumps(sample().pack(width))
    head, _ = header(data)
    meta, tensors = head["__metadata__"], dict(load_tensors(data))
    table = json.loads(meta["packed"])
    changed = change(table, tensors)
    text = changed if isinstance(changed, str) else json.dumps(table)
    made, body = header(save_tensors(tensors))
    return assemble({"__metadata__": {**meta, "packed": text}, **made}, body)


def entry(table: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    return next(each for each in table if all(each[key] == value for key, value in wanted.items()))


def put(name: str, array: Any) -> Callable[[Any, dict[str, Any]], None]:
    return lambda _, tensors: tensors.update({name: array})


def stretched(table: list[dict[str, Any]], tensors: dict[str, Any]) -> None:
    """A stream of ten bytes that claims to hold 2^30 numbers."""
    entry(table, name="v1.weight").update(deflated=True, shape=[2**10, 2**20])
    tensors["v1.weight"] = np.zeros(10, np.uint8)


TABLES: dict[str, tuple[Callable[[list[dict[str, Any]], dict[str, Any]], Any], str]] = {
    "no JSON": (lambda *_: "[", "packed: not JSON"),
    "no list": (lambda *_: "{}", "packed: need a list"),
    "no object": (lambda *_: "[3]", r"packed\[0\]: need an object"),
    "a field too many": (lambda t, _: t[0].update(more=1), r"packed\[0\]: field 'more' is unknown"),
    "a field too few": (lambda t, _: t[0].pop("bits"), r"packed\[0\]: field 'bits' is missing"),
    "a name twice": (lambda t, _: t.append(t[-1]), "ascending list without repeats"),
    "another order": (lambda t, _: t.reverse(), "ascending list without repeats"),
    "bits that are text": (lambda t, _: t[0].update(bits="3"), r"packed\[0\].bits: .*need int"),
    "no bits": (lambda t, _: t[0].update(bits=0), "0 bits and a shift of"),
    "too many bits": (lambda t, _: t[0].update(bits=9, shift=0), "9 bits and a shift of 0 do not fit"),
    "a shift below 0": (lambda t, _: t[0].update(shift=-1), "a shift of -1 do"),
    "a shift beyond the byte": (lambda t, _: t[0].update(shift=2**63 - 1), "do not fit"),
    "few bits of a long type": (lambda t, _: entry(t, name="v1.weight").update(dtype="int64"), "do not fit int64"),
    "an unknown dtype": (lambda t, _: t[0].update(dtype="int4"), "dtype 'int4', need one of int8, uint8"),
    "a shape of nothing": (lambda t, _: t[0].update(shape=[]), "need dimensions in"),
    "a shape with 0": (lambda t, _: t[0].update(shape=[0, 3]), "need dimensions in"),
    "a shape below 0": (lambda t, _: t[0].update(shape=[-1, 3]), "need dimensions in"),
    "a shape of too much": (lambda t, _: t[0].update(shape=[2**20, 2**20]), "the most is"),
    "a shape that is no list": (lambda t, _: t[0].update(shape=3), "need a list"),
    "a shape of floats": (lambda t, _: t[0].update(shape=[1.0]), "need int"),
    "another shape": (lambda t, _: entry(t, deflated=False)["shape"].append(2), "bytes, need"),
    "a tensor that is not there": (lambda _, x: x.pop("v1.weight"), "tensor 'v1.weight' is missing"),
    "a tensor of another dtype": (put("v1.weight", np.zeros(3, np.int8)), "is int8 of 1 dimensions, need uint8 of one"),
    "a tensor of two dimensions": (put("v1.weight", np.zeros((3, 3), np.uint8)), "is uint8 of 2 dimensions, need"),
    "too few bytes": (lambda t, x: x.update({n: x[n][:-1] for n in [entry(t, deflated=False)["name"]]}), "holds"),
    "no stream": (lambda t, _: entry(t, deflated=False).update(deflated=True), "does not inflate to"),
    "a stream that ends early": (
        lambda t, x: x.update({n: x[n][:-1] for n in [entry(t, deflated=True)["name"]]}), "does not inflate to",
    ),
    "more after a stream": (
        lambda t, x: x.update({n: np.append(x[n], np.uint8(0)) for n in [entry(t, deflated=True)["name"]]}),
        "does not inflate to",
    ),
    "a stream of more": (lambda t, _: entry(t, deflated=True)["shape"].insert(0, 2), "does not inflate to"),
    "a stream of less": (lambda t, _: entry(t, deflated=True).update(shape=[1]), "does not inflate to"),
    "a stream of far too much": (stretched, "does not inflate to 1073741824 bytes"),
    "another number": (lambda _, x: x["v1.weight"].__setitem__(0, x["v1.weight"][0] ^ 1), "does not match its sha256"),
}  # fmt: skip
"""Damage to the table or the tensors of a packed file, and what is said of it."""
OTHER_WORDS = (
    "no JSON",
    "bits that are text",
    "a field too many",
    "a field too few",
    "a shape of floats",
    "a shape of too much",
)
"""Where the native loader says the same in words of its own."""


@pytest.mark.parametrize("name", TABLES)
def test_damage_is_one_clear_error(name: str) -> None:
    change, message = TABLES[name]
    with pytest.raises(ProgramError, match=message) as caught:
        loads(forged(writable(change)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def writable(change: Callable[..., Any]) -> Callable[..., Any]:
    def made(table: list[dict[str, Any]], tensors: dict[str, Any]) -> Any:
        tensors.update({name: array.copy() for name, array in tensors.items()})
        return change(table, tensors)

    return made


def regraphed(change: Callable[[dict[str, Any]], Any], program: Program | None = None) -> bytes:
    """A file with a changed graph, and a digest that fits."""
    data = dumps(program or sample().pack(3))
    head, body = header(data)
    meta = head["__metadata__"]
    graph = json.loads(meta["graph"])
    change(graph)
    text = json.dumps(graph)
    tensors = tensors_of(loads(data))
    sha = digest(text, tensors)
    return assemble({**head, "__metadata__": {**meta, "graph": text, "sha256": sha}}, body)


GRAPHS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "packed to nothing": (lambda g: g["space"].update(packed=0), "packed 0"),
    "packed to no width": (lambda g: g["space"].update(packed=5), "packed to 5 bits: need one of the widths"),
    "packed to the master": (lambda g: g["space"].update(packed=8), "packed to 8 bits: need one of the widths"),
    "packed to text": (lambda g: g["space"].update(packed="3"), "need int"),
    "not packed": (lambda g: g["space"].pop("packed"), "field 'packed' is missing"),
    "packed to less than it holds": (lambda g: g["space"].update(packed=2), "a weight has bits below the top"),
}
"""Graphs of a file of version 3 that are not legal."""


def test_any_damage_is_a_program_error() -> None:
    """Bits flipped anywhere, more often in the header: one error, or a file that says the same."""
    rng = np.random.default_rng(0)
    for data in (dumps(sample().pack(3)), dumps(deflated(5))):
        whole = tensors_of(loads(data))
        for i in range(1500):
            damaged = bytearray(data)
            for place in rng.integers(0, (16, 9000, len(data))[i % 3], rng.integers(1, 4)):
                damaged[place] ^= 1 << int(rng.integers(8))
            try:
                again = tensors_of(loads(bytes(damaged)))
            except ProgramError:
                continue
            for name, array in whole.items():
                assert_array_equal(again[name], array)


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_of_packed_files(name: str) -> None:
    change, message = GRAPHS[name]
    with pytest.raises(ProgramError, match=message):
        loads(regraphed(change))


def test_a_file_of_version_2_is_not_packed() -> None:
    with pytest.raises(ProgramError, match="space: field 'packed' is unknown"):
        loads(regraphed(lambda g: g["space"].update(packed=3), sample()))
