"""Products of two activations as nodes, and attention: a product, a mask, a softmax, a product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from dqt.nn.calls import module_path
from dqt.nn.decompose import HIDDEN
from dqt.nn.moves import reshaped, transposed
from dqt.nn.ops.constant import add_constant
from dqt.nn.ops.softmax import append_softmax

if TYPE_CHECKING:
    from dqt.nn.capture import Builder

BETWEEN = tuple(
    f"aten.{name}" for name in ("view.default", "reshape.default", "to.dtype", "dropout.default", "unsqueeze.default")
)
"""What may stand between a mask and its softmax."""
MASKED = -1e4
"""What is added to a score so that a softmax does not see it is smaller than this."""


def multiply_activations(b: Builder, call: fx.Node, first: Any, second: Any) -> str:
    """Append ``first @ second``.

    Raises:
        UnsupportedError: a vector, or samples are multiplied with others.
    """
    names = [b.operand(call, each) for each in (first, second)]
    ranks = [each.meta["val"].dim() for each in (first, second)]
    placed = [b.placements.of(each) for each in (first, second)]
    alike = ranks[0] == ranks[1] and placed[0] == placed[1] and placed[0].dim < ranks[0] - 2
    if not alike:
        raise b.unsupported(
            call, "multiplies two activations of other forms than [N, .., I, K] and [N, .., K, J], samples by samples"
        )
    b.placements.put(call, placed[0])
    return append_product(b, call, names[0], names[1], "product")


def multiply_by_constant(b: Builder, call: fx.Node, x: Any, constant: Any) -> str:
    """Append ``x @ constant``, one matrix for each of several dimensions: 8-bit codes that the program holds.

    Raises:
        UnsupportedError: samples are multiplied by different matrices.
    """
    name, placed, rank = b.operand(call, x), b.placements.of(x), x.meta["val"].dim()
    sizes = tuple(b.constants.of(constant).shape)  # type: ignore[union-attr]
    lead = (1,) * (rank - len(sizes)) + sizes[:-2]
    if placed.dim == rank - 2:  # rows are samples, and what is counted with them
        shape = b.captured.shapes[name]
        name = reshaped(b, call, name, (*shape[: rank - 2], math.prod(placed.extra), shape[-1]))
    elif lead[placed.dim : placed.dim + 1] in ((1,), (placed.before * placed.after,)):
        extra = placed.extra if lead[placed.dim] > 1 else (1,) * len(placed.extra)
        lead = (*lead[: placed.dim], *extra, *lead[placed.dim + 1 :])
    else:
        raise b.unsupported(call, f"multiplies by a constant of shape {list(sizes)}, one matrix for each sample")
    held = add_constant(b, call, constant, (*lead, *sizes[-2:]))
    b.placements.put(call, placed)
    return reshaped(b, call, append_product(b, call, name, held, "product"), b.shape(call))


def append_product(b: Builder, call: fx.Node, first: str, second: str, what: str, scale: float = 1.0) -> str:
    """Append the product of the last two dimensions of two values; ``what``: how its layer is called."""
    shapes = [b.captured.shapes[name] for name in (first, second)]
    lead = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
    name = b.path(".".join(part for part in (module_path(call), what) if part))
    shape = (*lead, shapes[0][-2], shapes[1][-1])
    return b.add(call, "mat_mul", [first, second], name, product=name, shape=shape, attrs={"scale": scale})


def attention(
    b: Builder, call: fx.Node, operands: Sequence[Any], mask: Any, *, causal: bool, scale: Any, grouped: bool
) -> str:
    """Append ``softmax(q @ k^T * scale + mask) @ v`` of values ``[N, .., length, size]``."""
    q, k, v = (b.operand(call, each) for each in operands)
    placed = b.placements.of(operands[0])
    if len({b.placements.of(each) for each in operands}) > 1 or placed.dim >= operands[0].meta["val"].dim() - 2:
        raise b.unsupported(call, "reads tensors whose batches stand in different dimensions, or among their rows")
    b.placements.put(call, placed)
    shape = b.captured.shapes[q]
    factor = 1 / math.sqrt(shape[-1]) if scale is None else float(scale)
    if grouped and b.captured.shapes[k][-3] != shape[-3]:
        q, k, v = _grouped(b, call, q, k, v)
    rank = len(b.captured.shapes[k])
    k = transposed(b, call, k, (*range(rank - 2), rank - 1, rank - 2))
    scores = append_product(b, call, q, k, "scores", factor)
    scores = _masked(b, call, scores, mask, causal=causal)
    weights = append_softmax(b, call, scores, len(b.captured.shapes[scores]) - 1)
    y = append_product(b, call, weights, v, "context")
    return reshaped(b, call, y, b.shape(call))


def _grouped(b: Builder, call: fx.Node, q: str, k: str, v: str) -> tuple[str, str, str]:
    """Heads of queries beside the one head of keys and values that they share."""
    *lead, heads, length, size = b.captured.shapes[q]
    shared = b.captured.shapes[k][-3]
    q = reshaped(b, call, q, (*lead, shared, heads // shared, length, size))
    k, v = (reshaped(b, call, x, (*s[:-2], 1, *s[-2:])) for x, s in ((x, b.captured.shapes[x]) for x in (k, v)))
    return q, k, v


def _masked(b: Builder, call: fx.Node, scores: str, mask: Any, *, causal: bool) -> str:
    """The scores with what must not be seen far below: for a causal mask, keys behind the query."""
    shape = b.captured.shapes[scores]
    if causal:
        ones = torch.ones(shape[-2:], dtype=torch.bool).tril()
        scores = append_mask(b, call, scores, _additive(ones))
    if mask is None:
        return scores
    constant = b.constants.of(mask)
    if constant is None:
        return b.add(call, "add", [scores, b.operand(call, mask)], shape=shape)
    whole = _for_a_sample(b, call, constant)
    if whole.dim() < len(shape) and whole.shape[-3] not in (1, shape[-4]):  # one for each head, which are in groups
        whole = whole.reshape(*whole.shape[:-3], *shape[-4:-2], *whole.shape[-2:])
    elif whole.dim() < len(shape):
        whole = whole.unsqueeze(-3)
    if bool(whole.all() if whole.dtype == torch.bool else (whole == 0).all()):  # nothing is hidden
        return scores
    return append_mask(b, call, scores, _additive(whole))


def _for_a_sample(b: Builder, call: fx.Node, mask: Tensor) -> Tensor:
    """A mask as one sample's scores have their dimensions.

    Raises:
        UnsupportedError: samples have different ones.
    """
    placed, missing = b.placements.of(call), call.meta["val"].dim() - mask.dim()
    sizes = (1,) * missing + tuple(mask.shape)
    count = sizes[placed.dim]
    if count not in (1, placed.before * placed.after):
        raise b.unsupported(call, f"has a mask of shape {list(mask.shape)}, one for each sample of a batch")
    extra = placed.extra if count > 1 else (1,) * len(placed.extra)
    return mask.reshape(*sizes[: placed.dim], *extra, *sizes[placed.dim + 1 :])


def _additive(mask: Tensor) -> Tensor:
    """A mask as what is added: where it is true, or a number, nothing or that."""
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    return mask.float().clamp_min(torch.finfo(torch.float32).min)


def hides(b: Builder, call: fx.Node, constant: Any, c: Tensor) -> bool:
    """Whether ``call`` adds a ``constant`` with which it hides scores from every softmax that it leads to."""
    return c.numel() > 1 and not b.trains(constant) and float(c.min()) <= HIDDEN and _softmaxed(call)


def _softmaxed(call: fx.Node) -> bool:
    return bool(call.users) and all(
        str(user.target) == "aten.softmax.int" or (str(user.target) in BETWEEN and _softmaxed(user))
        for user in call.users
    )


def append_mask(b: Builder, call: fx.Node, x: str, mask: Tensor) -> str:
    """Append ``x + mask``, a constant of as many dimensions, some of whose numbers are below ``MASKED``."""
    path = b.path(".".join(part for part in (module_path(call), call.name, "mask") if part))
    b.held[path] = (mask, False)
    return b.add(call, "mask", [x], path, shape=b.captured.shapes[x], attrs={"path": path})
