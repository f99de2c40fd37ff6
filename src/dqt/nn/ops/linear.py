"""Matrix product over the last dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from dqt.nn import integers
from dqt.nn.attention import multiply_activations, multiply_by_constant
from dqt.nn.einsum import einsum
from dqt.nn.graph import Node
from dqt.nn.layered import add_layer, fake_layer
from dqt.nn.moves import reshaped, transposed
from dqt.nn.operator import Operator
from dqt.program.ops.linear import Linear

if TYPE_CHECKING:
    from dqt.nn.capture import Builder
    from dqt.nn.emission import Emission


def _linear(b: Builder, call: fx.Node) -> str:
    x = b.operand(call, call.args[0])
    b.placements.axis(call, call.args[0], -1)  # type: ignore[arg-type]
    return add_layer(b, call, "linear", x, {})


def _addmm(b: Builder, call: fx.Node) -> str:
    """A bias and a product."""
    bias, x, weight = call.args
    if any(float(call.kwargs.get(name, 1)) != 1 for name in ("alpha", "beta")):  # type: ignore[arg-type]
        raise b.unsupported(call, "scales an operand (alpha or beta)")
    return _product(b, call, x, weight, bias)


def _matmul(b: Builder, call: fx.Node) -> str:
    """A product with a constant, a matrix or a vector, or of two activations."""
    first, second = call.args[:2]
    if b.constants.of(second) is not None:
        return _product(b, call, first, second)
    if b.constants.of(first) is not None:
        return _product_from_left(b, call, first, second)
    return multiply_activations(b, call, first, second)


def _product(b: Builder, call: fx.Node, x: Any, weight: Any, bias: Any = None) -> str:
    """``x @ weight + bias``."""
    name, matrix = b.operand(call, x), b.constants.of(weight)
    assert matrix is not None
    b.placements.axis(call, x, -1)
    if matrix.dim() > 2:
        return multiply_by_constant(b, call, x, weight)
    columns = matrix.shape[1] if matrix.dim() == 2 else 1
    shape = (*b.captured.shapes[name][:-1], columns)
    y = add_layer(b, call, "linear", name, {}, _transposed, (weight, bias), shape=shape)
    return reshaped(b, call, y, b.shape(call))


def _transposed(weight: Tensor) -> Tensor:
    return weight.reshape(len(weight), -1).t()


def _product_from_left(b: Builder, call: fx.Node, weight: Any, x: Any) -> str:
    """``weight @ x``: the product over the last dimension but one."""
    name, matrix = b.operand(call, x), b.constants.of(weight)
    assert matrix is not None
    rank, axis = len(b.captured.shapes[name]), b.placements.axis(call, x, -2)
    if matrix.dim() != 2 or axis != rank - 2:
        raise b.unsupported(call, f"multiplies a constant of shape {list(matrix.shape)}; it can be a matrix")
    turned = (*range(rank - 2), rank - 1, rank - 2)
    name = transposed(b, call, name, turned)
    shape = (*b.captured.shapes[name][:-1], len(matrix))
    y = add_layer(b, call, "linear", name, {}, operands=(weight, None), shape=shape)
    return transposed(b, call, y, turned)


def _emit(e: Emission, node: Node) -> None:
    k = integers.layer_integers(e.net, node)
    x, out = e.source(node), e.result(node, k.out)
    e.append(Linear(node.layer, x, out, k.weight, k.m, k.c, k.shift, k.out.lo, k.out.hi, **k.fields))


OPERATOR = Operator(
    kind="linear",
    fake=fake_layer,
    emit=_emit,
    aten={
        "aten.linear.default": _linear,
        "aten.addmm.default": _addmm,
        "aten.einsum.default": einsum,
        **dict.fromkeys(("aten.matmul.default", "aten.mm.default"), _matmul),
    },
    own_quantizer=True,
)
