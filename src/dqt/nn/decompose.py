"""Operators of ATen that are others put together: they are taken apart into those that a network has.

torch says itself what most of them are. Recurrent layers, for which it knows the kernels of its own libraries too, are
written out here, step after step, and so are operators whose parts would lose accuracy in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch._decomp import decomposition_table
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

WHOLE = {
    "softmax", "log_softmax", "layer_norm", "rms_norm", "group_norm", "instance_norm", "scaled_dot_product_attention",
}  # fmt: skip
"""Operators that lose too much where each of their parts becomes codes: never taken apart."""
KNOWN = (
    "addcdiv", "addcmul", "addmv", "affine_grid_generator", "baddbmm", "dot", "hypot", "linalg_vector_norm", "logit",
    "mv", "norm", "t", "xlogy",
)  # fmt: skip
"""Operators that torch has rules for, beside those that are put together by nature."""


RESIZED = ("upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa")
"""Interpolations that are matrices: they read more than neighbours."""

HIDDEN = -50.0
"""What is this small before a softmax is a score that it must not see."""

# recurrent layers


def _steps(
    x: Tensor, weights: Sequence[Tensor], first: Any, cell: Callable[..., Any], *, back: bool
) -> tuple[Tensor, Any]:
    """A layer in one direction over ``[T, N, C]``: outputs ``[T, N, H]``, and the last state."""
    gates = F.linear(x, weights[0], weights[2] if len(weights) > 2 else None)
    state, outputs = first, []
    for row in gates.unbind(0)[:: -1 if back else 1]:
        state = cell(row, state, weights[1], weights[3] if len(weights) > 2 else None)
        outputs.append(state[0])
    return torch.stack(outputs[:: -1 if back else 1]), state


def _lstm_cell(row: Tensor, state: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    i, f, g, o = (row + F.linear(state[0], weight, bias)).chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru_cell(row: Tensor, state: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    (r, z, n), (hr, hz, hn) = row.chunk(3, -1), F.linear(state[0], weight, bias).chunk(3, -1)
    n = torch.tanh(n + torch.sigmoid(r + hr) * hn)
    return (n + torch.sigmoid(z + hz) * (state[0] - n),)


def _plain_cell(act: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    def cell(row: Tensor, state: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        return (act(row + F.linear(state[0], weight, bias)),)

    return cell


def _layers(cell: Callable[..., Any]) -> Callable[..., Any]:
    """``aten.NAME.input`` of a recurrent layer whose states are one tensor or, of an LSTM, two."""

    def run(
        x: Tensor, first: Any, weights: Sequence[Tensor], biases: bool, layers: int,
        _dropout: float, _train: bool, bidirectional: bool, batch_first: bool,
    ) -> Any:  # fmt: skip
        firsts = [each.unbind(0) for each in ([first] if isinstance(first, Tensor) else first)]
        each, ways = 4 if biases else 2, 2 if bidirectional else 1
        y, lasts = x.transpose(0, 1) if batch_first else x, []
        for layer in range(layers):
            sides = []
            for way in range(ways):
                at = layer * ways + way
                state = tuple(part[at] for part in firsts)
                side, state = _steps(y, weights[each * at : each * (at + 1)], state, cell, back=way == 1)
                sides.append(side)
                lasts.append(state)
            y = sides[0] if len(sides) == 1 else torch.cat(sides, -1)
        states = [torch.stack(parts) for parts in zip(*lasts, strict=True)]
        return (y.transpose(0, 1) if batch_first else y, *states)

    return run


def _one(cell: Callable[..., Any]) -> Callable[..., Any]:
    """``aten.NAME_cell`` of one step."""

    def run(x: Tensor, first: Any, weight: Tensor, recurrent: Tensor, bias: Any = None, other: Any = None) -> Any:
        state = (first,) if isinstance(first, Tensor) else tuple(first)
        found = cell(F.linear(x, weight, bias), state, recurrent, other)
        return found[0] if len(found) == 1 else found

    return run


# others


def _lerp(a: Tensor, b: Tensor, weight: Any) -> Tensor:
    return a + (b - a) * weight


def _variance(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    dims = list(range(x.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    count = math.prod(x.shape[d] for d in dims)
    squares = (x - x.mean(dims, keepdim=True)).square().mean(dims, keepdim)
    return squares * (count / (count - (1 if correction is None else correction)))


def _deviation(x: Tensor, dim: Any = None, **options: Any) -> Tensor:
    return _variance(x, dim, **options).sqrt()


def _filled(x: Tensor, mask: Tensor, value: float) -> Tensor:
    if value <= HIDDEN:
        return x + torch.where(mask, value, 0.0)
    return x * mask.logical_not() + mask * value


def _chosen(mask: Tensor, x: Tensor, y: Any) -> Tensor:
    if isinstance(y, Tensor):
        return x * mask + y * mask.logical_not()
    return _filled(x, mask.logical_not(), y)


def _log_softmax(x: Tensor, dim: int, _type: Any = None) -> Tensor:
    below = x - x.amax(dim, keepdim=True)
    return below - below.exp().sum(dim, keepdim=True).log()


def _resized(name: str) -> Callable[..., Any]:
    """An image in another size, as products with constant matrices: what becomes of the rows of the identity."""

    def run(x: Tensor, size: Any, align: bool, factors: Any = None) -> Tensor:
        resize = getattr(torch.ops.aten, name).vec
        for axis in (-2, -1):
            length = x.shape[axis]
            scale = None if factors is None else [factors[axis], 1.0]
            matrix = resize(torch.eye(length)[None, None], None if size is None else [size[axis], length], align, scale)
            x = torch.matmul(matrix[0, 0], x) if axis == -2 else torch.matmul(x, matrix[0, 0].t())
        return x

    return run


def _clamped(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def _sampled(x: Tensor, grid: Tensor, mode: int, padding: int, align: bool) -> Tensor:
    """Pixels between those of an image, at places that the model computes: a product with the share of each pixel.

    A place has a share of the pixels beside it, in each direction; of places outside of the image, nothing or, with
    padding 1, all of its border.
    """
    if mode != 0 or padding not in (0, 1) or x.dim() != 4:
        raise ValueError("only bilinear interpolation in images, with zeros or the border outside of them")
    shares = [_shares(grid[..., i].flatten(1), x.shape[3 - i], padding == 1, align) for i in (1, 0)]
    weights = (shares[0].unsqueeze(-1) * shares[1].unsqueeze(-2)).flatten(2)
    y = weights @ x.flatten(2).transpose(1, 2)
    return y.transpose(1, 2).reshape(x.shape[0], x.shape[1], grid.shape[1], grid.shape[2])


def _shares(places: Tensor, length: int, border: bool, align: bool) -> Tensor:
    """``max(0, 1 - |place - pixel|)`` of places from -1 to 1, as two clamps, for which codes from 0 to 1 are enough."""
    place = places * ((length - 1 if align else length) / 2) + (length - 1) / 2
    place = (place.clamp(0, length - 1) if border else place).unsqueeze(-1)
    pixels = torch.arange(length, dtype=torch.float32)
    return (place + (1.0 - pixels)).clamp(0, 1) - (place - pixels).clamp(0, 1)


OWN: dict[str, Callable[..., Any]] = {
    **{f"{name}.vec": _resized(name) for name in RESIZED},
    "masked_fill.Scalar": _filled,
    "where.ScalarOther": _chosen,
    "where.self": _chosen,
    "log_softmax.int": _log_softmax,
    "clamp.Tensor": _clamped,
    "clamp_min.Tensor": _clamped,
    "clamp_max.Tensor": lambda x, high: _clamped(x, None, high),
    "grid_sampler.default": _sampled,
    "lerp.Scalar": _lerp,
    "lerp.Tensor": _lerp,
    "var.correction": _variance,
    "std.correction": _deviation,
    "lstm.input": _layers(_lstm_cell),
    "gru.input": _layers(_gru_cell),
    "rnn_tanh.input": _layers(_plain_cell(torch.tanh)),
    "rnn_relu.input": _layers(_plain_cell(torch.relu)),
    "lstm_cell.default": _one(_lstm_cell),
    "gru_cell.default": _one(_gru_cell),
    "rnn_tanh_cell.default": _one(_plain_cell(torch.tanh)),
    "rnn_relu_cell.default": _one(_plain_cell(torch.relu)),
}
"""Operator -> what it is."""


# taking apart


def rule_of(target: Any) -> Callable[..., Any] | None:
    """What an operator is, as a function of its arguments; ``None``: it is not made of others."""
    name = str(target).removeprefix("aten.")
    base = name.split(".")[0]
    if name in OWN:
        return OWN[name]
    if type(target).__name__ != "OpOverload" or base in WHOLE:
        return None
    if base in KNOWN and target in decomposition_table:
        rule: Callable[..., Any] = decomposition_table[target]
        return rule
    return target.decompose if _is_composite(target.name()) else None


def _is_composite(name: str) -> bool:
    """Whether torch itself makes an operator of others."""
    try:
        return torch._C._dispatch_has_kernel_for_dispatch_key(name, torch._C.DispatchKey.CompositeImplicitAutograd)
    except RuntimeError:  # one that TorchScript alone knows, such as aten::size
        return False


def take_apart(call: fx.Node, graph: fx.Graph) -> list[fx.Node]:
    """Put what ``call`` is made of in its place; the new nodes in order. None: it stays as it is."""
    rule = rule_of(call.target)
    if rule is None:
        return []
    flat, form = tree_flatten((call.args, call.kwargs))
    places = [i for i, each in enumerate(flat) if isinstance(each, fx.Node)]

    def run(*values: Any) -> Any:
        given = list(flat)
        for i, value in zip(places, values, strict=True):
            given[i] = value
        args, kwargs = tree_unflatten(given, form)
        return rule(*args, **kwargs)

    traced = _traced(run, [flat[i].meta["val"] for i in places], deep=rule == getattr(call.target, "decompose", None))
    if traced is None or (rule not in OWN.values() and any(node.target == call.target for node in traced.nodes)):
        return []  # what is written out here may ask the operator itself, of constants
    known = dict(zip([n for n in traced.nodes if n.op == "placeholder"], [flat[i] for i in places], strict=True))
    before = set(graph.nodes)
    with graph.inserting_before(call):
        result: Any = graph.graph_copy(traced, known)
    made = [node for node in graph.nodes if node not in before]
    for node in made:
        node.meta |= {key: call.meta[key] for key in ("stack_trace", "nn_module_stack") if key in call.meta}
    _replace(call, result)
    return made


def _traced(run: Callable[..., Any], values: Sequence[Any], *, deep: bool) -> fx.Graph | None:
    """The graph of a function of tensors such as ``values``, which have shapes and no numbers.

    Args:
        deep: down to operators that are made of no others; torch takes its own apart only so.
    """
    mode = torch._guards.detect_fake_mode(values)
    assert mode is not None
    try:
        with mode, torch.no_grad():
            graph = make_fx(run, pre_dispatch=not deep, tracing_mode="real")(*values).graph
    except Exception:  # whatever torch's own rules raise for sizes or types that they were not made for
        return None
    return None if any(node.op == "get_attr" for node in graph.nodes) else graph


def _replace(call: fx.Node, result: Any) -> None:
    """Let who reads ``call``, or one of its results, read ``result``, or one of these; take it out of the graph."""
    if isinstance(result, fx.Node):
        call.replace_all_uses_with(result)
    for user in list(call.users):
        user.replace_all_uses_with(result[user.args[1]])
        call.graph.erase_node(user)
    call.graph.erase_node(call)
