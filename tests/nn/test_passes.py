"""Each pass, as a graph before and after; and what capture gives is left as it is."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import nn

from dqt.nn.capture import Builder
from dqt.nn.example import Example
from dqt.nn.export import export
from dqt.nn.graph import INPUT, Graph, Node
from dqt.nn.passes import rewritten
from dqt.nn.passes.drop_unused import drop_unused
from dqt.nn.passes.fold_norms import fold_norms
from dqt.nn.passes.fold_padding import fold_padding
from dqt.nn.passes.fuse_activations import fuse_activations
from dqt.nn.passes.place_quantizers import place_quantizers
from dqt.nn.passes.standardize_inputs import standardize_inputs
from dqt.nn.passes.widen_outputs import widen_outputs
from dqt.nn.scales import ScaleSpec

IMAGE = (4, 8, 8)
PAD = {"before": (0, 1, 2), "after": (0, 3, 0)}


def node(kind: str, out: str, *ins: str, shape: tuple[int, ...] = IMAGE, **fields: Any) -> Node:
    if kind == "conv":
        fields = {"layer": out, "attrs": {"padding": (1, 1, 0, 0)}} | fields
    if kind == "linear":
        fields = {"layer": out} | fields
    if kind in ("pad", "reshape", "slice", "dropout"):
        fields = {"quantizer": "same"} | fields
    if kind == "relu":
        fields = {"quantizer": "relu"} | fields
    return Node(kind, out, ins, shape, **fields)


def graph(*nodes: Node, output: str = "") -> Graph:
    return Graph(nodes, (output or nodes[-1].out,))


def text(lines: str) -> str:
    return dedent(lines).strip()


def test_drop_unused() -> None:
    before = graph(node("conv", "a", INPUT), node("conv", "b", "a"), node("relu", "c", "a"), output="c")
    assert str(drop_unused(before)) == text("""
        a = conv(input) layer=a padding=(1, 1, 0, 0)
        c = relu(a) quantizer=relu
        return c""")


def test_fold_padding() -> None:
    before = graph(node("pad", "p", INPUT, attrs=PAD), node("conv", "a", "p"))
    assert str(fold_padding(before)) == text("""
        a = conv(input) layer=a padding=(2, 4, 2, 0)
        return a""")


@pytest.mark.parametrize(
    "before",
    [
        graph(node("pad", "p", INPUT, attrs=PAD), node("conv", "a", "p"), node("add", "b", "a", "p")),  # read twice
        graph(node("pad", "p", INPUT, attrs=PAD), node("conv", "a", "p"), output="p"),  # read by the user
        graph(node("pad", "p", INPUT, attrs={"before": (1, 0, 0), "after": (0, 0, 0)}), node("conv", "a", "p")),
        graph(node("pad", "p", INPUT, attrs=PAD), node("linear", "a", "p")),
    ],
)
def test_padding_that_stays(before: Graph) -> None:
    assert fold_padding(before) == before


def test_fold_norms() -> None:
    before = graph(
        node("conv", "a", INPUT), node("affine", "n", "a", norm="n"), node("affine", "m", "n", norm="m"),
        node("add", "b", "m", INPUT),
    )  # fmt: skip
    assert str(fold_norms(before)) == text("""
        a = conv(input) layer=a norm=n padding=(1, 1, 0, 0)
        m = affine(a) norm=m
        b = add(m, input)
        return b""")


@pytest.mark.parametrize(
    "before",
    [
        graph(node("conv", "a", INPUT), node("affine", "n", "a", norm="n"), node("add", "b", "a", "n")),
        graph(node("conv", "a", INPUT), node("relu", "r", "a"), node("affine", "n", "r", norm="n")),
        graph(node("linear", "a", INPUT, shape=(5, 4)), node("affine", "n", "a", shape=(5, 4), norm="n")),
    ],
)
def test_norms_that_stay(before: Graph) -> None:
    assert fold_norms(before) == before


def scaled(name: str, gain: float = 2.0, bias: float = 0.0, trained: frozenset[str] = frozenset()) -> dict[str, Any]:
    return {name: ScaleSpec(torch.tensor([gain]), torch.tensor([bias]), trained)}


def test_standardize_inputs() -> None:
    """Before codes, before what moves the input, and before what else the graph does; a chain is real up to its end."""
    nodes = (
        node("conv", "a", INPUT), node("transpose", "t", "x", shape=(6, 5), quantizer="same", attrs={"axes": (1, 0)}),
        node("affine", "n", "t", shape=(6, 5), norm="n"), node("affine", "m", "n", shape=(6, 5), norm="m"),
        node("transpose", "u", "m", shape=(5, 6), quantizer="same", attrs={"axes": (1, 0)}),
        node("linear", "b", "u", shape=(5, 2)), node("affine", "p", INPUT, norm="p"), node("add", "c", "p", "a"),
    )  # fmt: skip
    before = Graph(nodes, ("c", "b"), {}, (INPUT, "x"), shapes={"x": (5, 6), INPUT: IMAGE})
    after = standardize_inputs(before, input_signed=True)
    assert str(after) == text("""
        n = standardize(x) norm=n quantizer=float axis=1
        m = standardize(n) norm=m axis=1
        p = standardize(input) norm=p axis=0
        a = conv(input) layer=a padding=(1, 1, 0, 0)
        b = linear(m) layer=b
        c = add(p, a)
        return c, b""")
    assert [each.shape for each in after.nodes[:3]] == [(5, 6), (5, 6), IMAGE]


@pytest.mark.parametrize(
    "before",
    [
        graph(node("conv", "a", INPUT), node("affine", "n", "a", norm="n")),  # behind a layer
        graph(node("pad", "p", INPUT, attrs=PAD), node("affine", "n", "p", norm="n")),  # zeros that it would change
        graph(
            node("reshape", "r", INPUT), node("affine", "n", "r", norm="n"), node("add", "b", "n", "r")
        ),  # read twice
        Graph((node("affine", "n", "h", norm="n"),), ("n",), {}, (INPUT, "h"), {"h": 0}),  # codes from the last run
        graph(node("affine", "n", INPUT, shape=(), norm="n")),  # one number a sample
    ],
)
def test_multiply_adds_that_stay(before: Graph) -> None:
    assert standardize_inputs(before, input_signed=True) == before


@pytest.mark.parametrize(
    ("scales", "signed", "expected"),
    [
        (scaled("n"), False, "unsigned"),
        (scaled("n"), True, "signed"),
        (scaled("n", -2.0), False, "signed"),
        (scaled("n", bias=-0.1), False, "signed"),
        (scaled("n", trained=frozenset({"gain"})), False, "signed"),
        ({}, False, "signed"),
    ],
)
def test_what_keeps_the_sign_of_an_input(scales: dict[str, Any], signed: bool, expected: str) -> None:
    before = Graph((node("affine", "n", INPUT, norm="n"),), ("n",), scales)
    assert standardize_inputs(before, input_signed=signed).nodes[0].quantizer == expected


def test_fuse_activations() -> None:
    before = graph(
        node("conv", "a", INPUT), node("relu", "r", "a", cap=6.0), node("relu", "s", "r"), node("table", "t", "s"),
    )  # fmt: skip
    after = fuse_activations(before)
    assert str(after) == text("""
        a = conv(input) layer=a quantizer=relu padding=(1, 1, 0, 0)
        s = relu(a) quantizer=relu
        t = table(s)
        return t""")
    assert after.nodes[0].cap == 6.0


@pytest.mark.parametrize("other", [node("add", "b", "r", "a"), node("reshape", "b", "a")])
def test_a_value_that_others_read_keeps_its_sign(other: Node) -> None:
    before = graph(node("conv", "a", INPUT), node("relu", "r", "a"), other, node("add", "c", "b", "r"))
    assert fuse_activations(before) == before


def test_widen_outputs() -> None:
    before = graph(node("conv", "a", INPUT), node("dropout", "d", "a"), node("reshape", "r", "d", shape=(256,)))
    assert str(widen_outputs(before)) == text("""
        a = conv(input) layer=a quantizer=int32 padding=(1, 1, 0, 0)
        d = dropout(a) quantizer=same
        r = reshape(d) quantizer=same
        return r""")


def test_widen_sums_of_sums() -> None:
    """Operands that others read, or that only give codes, stay codes; a ReLU stays a clamp."""
    before = graph(
        node("conv", "a", INPUT), node("conv", "b", INPUT), node("table", "t", "b"), node("reshape", "r", "a"),
        node("sub", "s", "b", "t"), node("add", "c", "r", "s", quantizer="relu", cap=6.0),
        node("concat", "d", "c", "t"),
    )  # fmt: skip
    after = widen_outputs(before)
    assert str(after) == text("""
        a = conv(input) layer=a quantizer=int32 padding=(1, 1, 0, 0)
        b = conv(input) layer=b padding=(1, 1, 0, 0)
        t = table(b)
        r = reshape(a) quantizer=same
        s = sub(b, t) quantizer=int32
        c = add(r, s) quantizer=int32
        d = concat(c, t) quantizer=int32
        return d""")
    assert (after.nodes[5].floor, after.nodes[5].cap) == (0.0, 6.0)


def test_widen_outputs_that_others_read() -> None:
    """Layers, states and pools of such a value get its codes; an output that is the same value does not."""
    nodes = (
        node("conv", "a", INPUT, quantizer="relu", cap=6.0), node("reshape", "r", "a"), node("conv", "b", "a"),
        node("avg_pool", "p", "a"), node("add", "c", "b", "a"),
    )  # fmt: skip
    before = Graph(nodes, ("a", "r", "c", "p", "a", "a"), {}, (INPUT, "h"), {"h": 5})
    after = widen_outputs(before)
    assert str(after) == text("""
        a = conv(input) layer=a quantizer=int32 padding=(1, 1, 0, 0)
        a.codes = requantize(a) quantizer=relu
        r = reshape(a) quantizer=same
        b = conv(a.codes) layer=b quantizer=int32 padding=(1, 1, 0, 0)
        p = avg_pool(a.codes) quantizer=int32
        c = add(b, a) quantizer=int32
        return a, r, c, p, a, a.codes""")
    assert after.nodes[1].cap == 6.0


@pytest.mark.parametrize(
    "before",
    [
        graph(node("conv", "a", INPUT), node("table", "t", "a")),
        graph(node("conv", "a", INPUT), node("relu", "r", "a"), node("add", "b", "a", "r"), output="r"),
        Graph((node("conv", "a", INPUT),), ("a",), {}, (INPUT, "h"), {"h": 0}),  # a state alone
        Graph((node("conv", "a", INPUT),), (INPUT,)),
    ],
)
def test_outputs_that_are_codes(before: Graph) -> None:
    assert widen_outputs(before) == before


def test_a_relu_that_reads_an_output_clamps_its_codes() -> None:
    before = Graph((node("conv", "a", INPUT), node("relu", "r", "a"), node("conv", "b", "r")), ("a", "b"))
    assert str(rewritten(before, input_signed=True)) == text("""
        a = conv(input) layer=a quantizer=int32 padding=(1, 1, 0, 0)
        a.codes = requantize(a) quantizer=relu
        b = conv(a.codes) layer=b quantizer=int32 padding=(1, 1, 0, 0)
        return a, b""")


@pytest.mark.parametrize(("signed", "expected"), [(True, "signed"), (False, "unsigned")])
def test_place_quantizers(signed: bool, expected: str) -> None:
    before = graph(
        node("conv", "a", INPUT, quantizer="relu"), node("pad", "p", INPUT, attrs=PAD), node("add", "b", "a", "p"),
        node("conv", "c", "b"), node("multiply", "d", "b", "c"),
    )  # fmt: skip
    kinds = [each.quantizer for each in place_quantizers(before, input_signed=signed).nodes]
    assert kinds == ["relu", "same", expected, "signed", "signed"]


def test_from_capture_to_what_is_prepared() -> None:
    x = torch.randn(2, 3, 8, 8)
    model = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
                          nn.Conv2d(4, 2, 1), nn.Flatten())  # fmt: skip
    example = Example.of(model, x)
    captured = Builder(export(model, example), example).build().graph
    kinds = [each.kind for each in captured.nodes]
    assert kinds == ["pad", "conv", "affine", "relu", "conv", "reshape"]
    assert {each.quantizer for each in captured.nodes if each.layer} == {"signed"}
    after = rewritten(captured, input_signed=True)
    assert [(each.kind, each.quantizer, each.norm) for each in after.nodes] == [
        ("conv", "relu", "2"), ("conv", "int32", ""), ("reshape", "same", ""),
    ]  # fmt: skip
    assert after.nodes[0].attrs["padding"] == (1, 1, 1, 1)
    assert after.outputs == captured.outputs
