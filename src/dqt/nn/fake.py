"""Straight-through fake quantization: the differentiable mirror of :mod:`dqt.arith.nested`.

Forward passes give integers ``T_b(q) - zero`` in float32, so that a layer's product of them is the program's own
accumulator, exactly, and the real scale multiplies it once, after. Gradients of ``node * (T_b(q) - zero)`` are 1
inside the clip range and 0 outside, and the node gets the LSQ gradient (Esser et al., 2020), which outside the range
is PACT's (Choi et al., 2018).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dqt.arith.nested import limits, shift_of


def _channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _in_memory_order(x: Tensor) -> Tensor:
    """A view whose dimensions lie as memory does, so that torch takes its straight paths."""
    return x.permute(0, 2, 3, 1) if _channels_last(x) else x


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """``sum(a * b)``; one pass where both are dense in the same memory order."""
    if _channels_last(a) == _channels_last(b):
        a, b = _in_memory_order(a), _in_memory_order(b)
    if a.is_contiguous() and b.is_contiguous():
        return torch.dot(a.view(-1), b.view(-1))
    return (a * b).sum()


def _inner_by_sample(a: Tensor, b: Tensor) -> Tensor:
    """``sum(a * b)`` of each sample, ``[N]``, without an intermediate."""
    if _channels_last(a) == _channels_last(b):
        a, b = _in_memory_order(a), _in_memory_order(b)
    count = len(a)
    return torch.bmm(a.reshape(count, 1, -1), b.reshape(count, -1, 1)).view(count)


def _gather(x: Tensor, index: Tensor) -> Tensor:
    """``x[index]`` in the memory order of ``x``."""
    if not _channels_last(x):
        return x.index_select(0, index)
    return x.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)


def _laid_out_as(grad: Tensor, like: Tensor) -> Tensor:
    """``grad`` in the memory order of ``like``: pooling hands back another, and mixed orders cost ten times more."""
    if _channels_last(like):
        return grad.contiguous(memory_format=torch.channels_last)
    return grad


class _NarrowActivation(torch.autograd.Function):
    """Quantize to n bits and narrow to b with the nearest rule, in one go (docs/numerics.md, equations 6 and 36).

    ``floor((floor(u + 1/2) + half) / 2^s) = floor((u + 1/2 + half) / 2^s)`` for integer ``half`` and ``u = x / scale``,
    so both roundings are one. Memory traffic decides the speed: one allocation in each direction, as a ReLU has.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, grid: Grid, real: bool) -> Tensor:
        s = grid.shift
        y = x * (scale.reciprocal() * 2.0**-s)
        y.add_((((1 << s) >> 1) + 0.5 + grid.off) * 2.0**-s).floor_().clamp_(grid.least, grid.most)
        if real or s:
            y.mul_(scale * 2.0**s if real else 2.0**s)
        if grid.off:
            y.sub_(scale * grid.off if real else grid.off)
        ctx.real, ctx.range = real, grid.inside
        ctx.save_for_backward(x, scale, y if real and ctx.needs_input_grad[1] else None)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, y = ctx.saved_tensors
        grad = _laid_out_as(grads[0], x)
        grad_x = _inside(grad, x, scale, *ctx.range)
        grad_step = None
        if ctx.needs_input_grad[1]:
            inner = _inner(grad_x, x) / scale
            change = _inner(grad, y) / scale - inner if ctx.real else -inner / scale
            grad_step = change.reshape(scale.shape)
        if not ctx.real:
            grad_x.mul_(scale.reciprocal())
        return grad_x, grad_step, None, None


class Grid(NamedTuple):
    """Levels of an activation at one width, less the zero point: ``2^shift * k - off`` for ``k`` in ``[least, most]``.

    Attributes:
        shift: ``s = n - b - e``.
        off: how far the zero point lies above the nearest lower level; 0 where it is a level.
        inside: the integers, less the zero point, beyond which values saturate.
    """

    shift: int
    off: int
    least: int
    most: int
    inside: tuple[float, float]


def grid(n: int, b: int, e: int, zero: int) -> Grid:
    """The levels at width ``b`` with exponent ``e`` around a zero point (docs/numerics.md, equation 36)."""
    s = shift_of(n, b, e)
    below = zero >> e  # how far the zero point lies above the first integer of the range
    least, off = -(below >> s), below - (below >> s << s)
    return Grid(s, off, least, least + (1 << b) - 1, (float(-below), float((1 << (n - e)) - 1 - below)))


def _inside(grad: Tensor, x: Tensor, scale: Tensor, low: float, high: float) -> Tensor:
    """``grad`` where ``low * scale < x < high * scale``, 0 elsewhere."""
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        size = float(scale)
        result: Tensor = torch.ops.aten.hardtanh_backward(grad, x, low * size, high * size)
        return result
    return grad * ((x > low * scale) & (x < high * scale))


def narrow_activation(x: Tensor, scale: Tensor, zero: int, n: int, b: int, e: int = 0, *, real: bool = False) -> Tensor:
    """Real ``x`` -> ``T_b(q) - zero`` at width ``b`` of master ``n``; float64 stays, the rest is float32.

    Args:
        scale: 0-d > 0.   e: the width reads a range of ``2^-e`` of the master's, around the zero point.
        real: times ``scale``, the value that the integers stand for.
    """
    x = x if x.dtype == torch.float64 else x.float()
    levels = grid(n, b, e, zero)
    result: Tensor = _NarrowActivation.apply(x, scale.to(x.dtype), levels, real)  # type: ignore[no-untyped-call]
    return result


class _NarrowMaster(torch.autograd.Function):
    """From the real master value to the real value at width b. The clip range is the master's business."""

    @staticmethod
    def forward(ctx: Any, master: Tensor, scale: Tensor, zero: int, n: int, b: int) -> Tensor:
        s = shift_of(n, b)
        y = master * (scale.reciprocal() * 2.0**-s)
        y.add_((((1 << s) >> 1) + 0.25) * 2.0**-s).floor_()  # the quarter outweighs the rounding of master / scale
        y.clamp_(-(zero >> s), ((1 << b) - 1) - (zero >> s)).mul_(scale * 2.0**s)
        ctx.save_for_backward(*((master, y, scale) if ctx.needs_input_grad[1] else ()))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        (grad,) = grads
        if not ctx.needs_input_grad[1]:
            return grad, None, None, None, None
        master, y, scale = ctx.saved_tensors
        change = (_inner(grad, y) - _inner(grad, master)) / scale
        return grad, change.reshape(scale.shape), None, None, None


def narrow_master(master: Tensor, scale: Tensor, zero: int, n: int, b: int) -> Tensor:
    """``narrow_activation(x, ..., real=True)`` from its own result at b = n, where that is needed too; exponent 0.

    ``zero``: a multiple of ``2^(n-b)``. The gradients are the same; the work in the backward pass is done once.
    """
    result: Tensor = _NarrowMaster.apply(master, scale.to(master.dtype), zero, n, b)  # type: ignore[no-untyped-call]
    return result


def weight_codes(weight: Tensor, scale: Tensor, n: int) -> Tensor:
    """Master codes ``clamp(round(w / scale))`` in float32 (integers in ``[-2^(n-1), 2^(n-1) - 1]``, equation 1).

    ``scale``: ``[out]``, one per output channel.
    """
    lo, hi = limits(n, signed=True)
    return (weight / per_channel(scale, weight)).round().clamp(lo, hi)


class _StraightThrough(torch.autograd.Function):
    """The codes, to the bit (``u + (codes - u)`` is not), with the gradient of what they stand for."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, codes: Tensor) -> Tensor:
        return codes.view_as(codes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def straight_through(real: Tensor, exact: Tensor) -> Tensor:
    """``exact``, to the bit, with the gradient of ``real``."""
    result: Tensor = _StraightThrough.apply(real, exact)  # type: ignore[no-untyped-call]
    return result


def narrow_weight(
    weight: Tensor, scale: Tensor, n: int, b: int, h: Tensor, e: int = 0, *, nearest: bool = False
) -> Tensor:
    """Real weights -> ``T_b(q)``, integers in float32 (equations 34 and 35), with straight-through and LSQ gradients.

    Args:
        scale: ``[out]``.   h: midpoints of the shift ``n - b - e`` that broadcast over the weight, float32.
        e: the width reads a range of ``2^-e`` of the master's.   nearest: by the nearest rule, without midpoints.
    """
    lo, hi = (limit // (1 << e) for limit in limits(n, signed=True))
    u, s = (weight / per_channel(scale, weight)).clamp(lo, hi), shift_of(n, b, e)
    with torch.no_grad():
        codes = u.round()
        if s and nearest:
            codes.add_(1 << (s - 1)).mul_(2.0**-s).floor_().clamp_(-(1 << (b - 1)), (1 << (b - 1)) - 1).mul_(2.0**s)
        elif s:
            codes.mul_(2.0**-s).floor_().mul_(2.0**s).add_(h)
    result: Tensor = _StraightThrough.apply(u, codes)  # type: ignore[no-untyped-call]
    return result


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """``[out]`` shaped to broadcast over ``[out, ...]``."""
    return values.reshape(-1, *(1 for _ in range(like.dim() - 1)))


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """``x``, whose gradient is multiplied by ``factor`` (LSQ's ``1 / sqrt(elements * levels)``)."""
    result: Tensor = _ScaleGradient.apply(x, factor)  # type: ignore[no-untyped-call]
    return result


class _CarryChoice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, probability: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (grad,), (y,) = grads, ctx.saved_tensors
        return grad, _inner_by_sample(grad, y)


def carry_choice(y: Tensor, probability: Tensor) -> Tensor:
    """``y``, unchanged; the probability of the width that made each sample of it gets the straight-through gradient.

    Equal to ``y * (1 + p - p.detach())`` per sample, without its passes over memory. ``probability``: ``[N]``.
    """
    result: Tensor = _CarryChoice.apply(y, probability)  # type: ignore[no-untyped-call]
    return result


class _Reorder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return _gather(x, order)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        _, inverse = ctx.saved_tensors
        return _gather(grads[0], inverse), None, None


def reorder(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """The samples of ``x`` in another order. ``inverse`` undoes ``order``, so the gradient is a gather, not a sum."""
    result: Tensor = _Reorder.apply(x, order, inverse)  # type: ignore[no-untyped-call]
    return result
