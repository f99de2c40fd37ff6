"""Einstein sums that are a reordering, a sum, a layer (a product with a constant), or a product of two activations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from dqt.nn.attention import append_product
from dqt.nn.layered import add_layer
from dqt.nn.moves import reshaped, transposed
from dqt.nn.ops.constant import add_constant

if TYPE_CHECKING:
    from dqt.nn.capture import Builder


def einsum(b: Builder, call: fx.Node) -> str:
    """Append what ``call`` computes of one activation, of one and a constant that it multiplies, or of two.

    Raises:
        UnsupportedError: it is another product, such as one element by element.
    """
    equation, operands = str(call.args[0]), list(call.args[1])  # type: ignore[arg-type]
    ins, out = _labels(equation, [_rank(b, each) for each in operands])
    constants = [b.constants.of(each) is not None for each in operands]
    if constants == [False, False]:
        return _of_two(b, call, [b.value(call, each) for each in operands], ins, out)
    if len(operands) > 2 or constants.count(False) != 1:
        raise b.unsupported(call, f"is {equation!r}, no product of two, or of an activation with constants")
    at = constants.index(False)
    x, labels = b.value(call, operands[at]), ins[at]
    if labels[0] != out[0] or labels[0] in "".join(ins[:at] + ins[at + 1 :]):
        raise b.unsupported(call, f"is {equation!r}, which moves or sums the batch")
    if len(operands) == 2 and _is_shared(labels, ins[1 - at], out):
        held = add_constant(b, call, operands[1 - at], tuple(b.constants.of(operands[1 - at]).shape))  # type: ignore[union-attr]
        values, ins[1 - at] = [held, held], labels[0] + ins[1 - at]
        values[at] = x
        return _of_two(b, call, values, ins, out)
    if len(operands) == 2:
        x, labels = _product(b, call, (x, labels), (operands[1 - at], ins[1 - at]), out)
    return _ordered(b, call, x, labels, out)


def _rank(b: Builder, arg: Any) -> int:
    constant = b.constants.of(arg)
    return constant.dim() if constant is not None else arg.meta["val"].dim()


def _labels(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """One letter for each dimension of each operand and of the result; dots become letters of their own."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    ins = left.split(",")
    hidden = [rank - len(each.replace("...", "")) for each, rank in zip(ins, ranks, strict=True)]
    spare = "".join(chr(ord("α") + i) for i in range(max(hidden)))
    ins = [each.replace("...", spare[len(spare) - n :]) for each, n in zip(ins, hidden, strict=True)]
    if not arrow:
        joined = "".join(ins)
        out = spare + "".join(sorted(each for each in set(joined) if joined.count(each) == 1 and each not in spare))
    return ins, out.replace("...", spare)


def _is_shared(labels: str, own: str, out: str) -> bool:
    """Whether a constant has a matrix for each place along dimensions of the value, which the result has as well."""
    both = set(labels[1:]) & set(own)
    once = len(set(labels)) == len(labels) and len(set(own)) == len(own)
    return once and bool(both & set(out)) and bool(both - set(out)) and set(own) - both <= set(out)


def _product(
    b: Builder, call: fx.Node, value: tuple[str, str], constant: tuple[fx.Node, str], out: str
) -> tuple[str, str]:
    """Append the layer; its result and the letters of that: those that are not summed, then the constant's own."""
    (x, labels), (given, own) = value, constant
    summed = [each for each in labels if each in own and each not in out]
    kept = [each for each in labels if each not in own]
    free = [each for each in own if each not in labels]
    once = len(set(labels)) == len(labels) and len(set(own)) == len(own)
    if not once or not summed or len(summed) + len(free) != len(own):
        raise b.unsupported(call, f"is {call.args[0]!r}, whose constant is no matrix of the dimensions that are summed")
    shape = dict(zip(labels[1:], b.captured.shapes[x], strict=True))
    x = transposed(b, call, x, [labels.index(each) - 1 for each in (*kept[1:], *summed)])
    lengths = tuple(shape[each] for each in kept[1:])
    x = reshaped(b, call, x, (*lengths, math.prod(shape[each] for each in summed)))
    sizes = dict(zip(own, b.constants.of(given).shape, strict=True))  # type: ignore[union-attr]
    order = [own.index(each) for each in (*free, *summed)]

    def turned(weight: Tensor) -> Tensor:
        return weight.permute(order).reshape(math.prod(sizes[each] for each in free), -1)

    columns = tuple(sizes[each] for each in free)
    fields = {"shape": (*lengths, math.prod(columns))}
    x = add_layer(b, call, "linear", x, {}, turned, (given, None), **fields)
    return reshaped(b, call, x, (*lengths, *columns)), "".join((*kept, *free))


def _of_two(b: Builder, call: fx.Node, values: list[str], ins: list[str], out: str) -> str:
    """Append the product of two activations: what both have and the result has broadcasts, what it lacks is summed."""
    (first, second), (x, y) = ins, values
    lead = [each for each in first[1:] if each in second and each in out]
    summed = [each for each in first if each in second and each not in out]
    left, right = ([each for each in own if each not in other] for own, other in ((first, second), (second, first)))
    once = all(len(set(each)) == len(each) for each in ins)
    if not (once and summed and first[0] == second[0] == out[0] and {*left, *right} <= set(out)):
        raise b.unsupported(call, f"is {call.args[0]!r}, which is no matrix product of each sample's own two operands")
    x, lengths = _as_matrices(b, call, x, first, lead, left, summed)
    y, others = _as_matrices(b, call, y, second, lead, summed, right)
    z = append_product(b, call, x, y, "product")
    sizes = lengths | others
    z = reshaped(b, call, z, tuple(sizes[each] for each in (*lead, *left, *right)))
    return _ordered(b, call, z, "".join((out[0], *lead, *left, *right)), out)


def _as_matrices(
    b: Builder, call: fx.Node, x: str, labels: str, lead: list[str], rows: list[str], columns: list[str]
) -> tuple[str, dict[str, int]]:
    """A value as matrices ``(*lead, rows, columns)``, and the length of each of its letters."""
    sizes = dict(zip(labels[1:], b.captured.shapes[x], strict=True))
    x = transposed(b, call, x, [labels.index(each) - 1 for each in (*lead, *rows, *columns)])
    down, across = (math.prod(sizes[each] for each in part) for part in (rows, columns))
    return reshaped(b, call, x, (*(sizes[each] for each in lead), down, across)), sizes


def _ordered(b: Builder, call: fx.Node, x: str, labels: str, out: str) -> str:
    """The dimensions of a value in the order of the result; those that it lacks are summed."""
    if len(set(labels)) != len(labels) or not set(out) <= set(labels):
        raise b.unsupported(call, f"is {call.args[0]!r}, which takes a diagonal")
    gone = tuple(i for i, each in enumerate(labels[1:]) if each not in out)
    shape = b.captured.shapes[x]
    if gone:
        one = tuple(1 if i in gone else d for i, d in enumerate(shape))
        x = b.add(call, "mean", [x], attrs={"axes": gone, "divides": False}, shape=one)
        x = reshaped(b, call, x, tuple(d for i, d in enumerate(shape) if i not in gone))
    left = [each for each in labels if each in out]
    return transposed(b, call, x, [left.index(each) - 1 for each in out[1:]])
