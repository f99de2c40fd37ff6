"""The operators of a prepared network: one table, each with its differentiable form and its integer form.

The integer forms use the functions of :mod:`dqt.arith` on torch integers, so they are the same arithmetic as
``dqt.interpret``. Their constants come from :mod:`dqt.nn.integers`, as do those of ``dqt.lower``.
"""

# ruff: noqa: ARG001, ARG005 - a table's functions have one signature

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dqt.arith.affine import add, multiply
from dqt.arith.fixed import choose_shift, requantize
from dqt.arith.plan import Pair
from dqt.nn import exact, fake, integers
from dqt.nn.functions import FUNCTIONS
from dqt.nn.graph import Step
from dqt.nn.layers import Norm, WidthLayer
from dqt.nn.ranges import Edge, Signal

if TYPE_CHECKING:
    from dqt.nn.net import Net


@dataclass
class Choice:
    """The widths that a controller chose.

    Attributes:
        layers: names of the layers it chose for.
        widths: int64 ``[N, layers]``.
        soft: float ``[N, layers, choices]``, the probabilities of this draw (noise and temperature included); rows
            sum to 1. Empty in an exact run.
        log_probability: float ``[N, layers]``, log of the noise-free probability of what was chosen.
    """

    layers: tuple[str, ...]
    widths: Tensor
    soft: Tensor
    log_probability: Tensor

    def of(self, layer: str) -> int | None:
        """The column of a layer, ``None`` if its width is fixed."""
        return self.layers.index(layer) if layer in self.layers else None


@dataclass
class Run:
    """One pass through the network: the widths, and how it is computed.

    Attributes:
        widths: (weight, activation) width by layer; layers that the choice covers are not in it.
        quantized: ``False``: the float model, for calibration.
        batch_statistics: batch norms use and update the statistics of the batch; tracked ranges move.
        choice: set by the "choose" step of a routed run.
        temperature, noise: of the Gumbel-softmax; ``None``: the argmax.
    """

    widths: dict[str, Pair]
    quantized: bool = True
    batch_statistics: bool = False
    choice: Choice | None = None
    temperature: float | None = None
    noise: Tensor | None = None
    constants: dict[str, Any] = field(default_factory=dict)


def by_width(chosen: Tensor, x: Tensor, run: Callable[[Tensor, int, float], Tensor]) -> Tensor:
    """Run groups of samples of equal width and put the results back in order: every sample is computed once.

    Args:
        chosen: int64 ``[N]``, the width of each sample.
        x: ``[N, ...]``.
        run: (rows of ``x`` of one width, that width, their share of the batch) -> result rows.
    """
    widths, counts = torch.unique(chosen, return_counts=True)
    if len(widths) == 1:
        return run(x, int(widths), 1.0)
    order = chosen.argsort(stable=True)
    inverse = order.argsort()
    groups = zip(fake.reorder(x, order, inverse).split_with_sizes(counts.tolist()), widths.tolist(), strict=True)
    results = [run(rows, b, len(rows) / len(chosen)) for rows, b in groups]
    return fake.reorder(torch.cat(results), inverse, order)


# layers that carry a width


def _layer(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    layer, norm = net.layer(step.layer), net.norm(step.norm)
    (x,) = ins
    if not run.quantized:
        return Signal(_float_product(layer, norm, x), net.edge(step), False)
    column = run.choice.of(step.layer) if run.choice else None
    if run.choice is None or column is None:
        raw = product(layer, norm, x, run.widths[step.layer], run.batch_statistics, edge=net.edge(step))
        return Signal(raw, net.edge(step))
    raw = by_width(
        run.choice.widths[:, column],
        x.raw,
        lambda rows, b, share: product(layer, norm, x.like(rows), (b, b), run.batch_statistics, share, net.edge(step)),
    )
    if run.choice.soft.requires_grad:
        soft = run.choice.soft[:, column]
        raw = fake.carry_choice(raw, soft.gather(1, soft.argmax(1, keepdim=True)).squeeze(1))
    return Signal(raw, net.edge(step))


def product(
    layer: WidthLayer,
    norm: Norm | None,
    x: Signal,
    pair: Pair,
    batch_statistics: bool,
    share: float = 1.0,
    edge: Edge | None = None,
) -> Tensor:
    """A layer at widths ``pair`` and the batch norm that follows it: real values, before the edge.

    In evaluation the product is of integers, so in float32 it is the program's accumulator itself; what follows is
    float64 with the program's multiplier, so that the two almost never round apart. In training both operands are real
    and float32, which saves passes over memory. ``edge``: where the result goes.
    """
    bw, ba = pair
    row = min(bw, ba)
    weight, offset = layer.narrowed(bw), layer.offset(row)
    if batch_statistics:
        y = layer.apply_weight(x.real(ba), weight * fake.per_channel(layer.step(), weight), offset)
        return y if norm is None else norm(y, row, share, y.numel() > y.shape[1])
    acc = layer.apply_weight(x.codes(ba).float(), weight, None).double()
    shape = (-1, *(1 for _ in range(weight.dim() - 2)))
    gain, bias = layer.gain_and_bias(norm, row)
    scale = layer.step().double() * x.step.double() * gain
    if edge is not None and not torch.compiler.is_compiling():  # 2^-33 of a step: not worth a break in the graph
        scale = scale + _multiplier_error(layer, norm, x, edge, scale)
    return acc * scale.reshape(shape) + bias.reshape(shape)


def _multiplier_error(layer: WidthLayer, norm: Norm | None, x: Signal, edge: Edge, scale: Tensor) -> Tensor:
    """What the program's multiplier ``round(scale * 2^S)`` makes of ``scale``, less ``scale`` (equation 9)."""
    units = layer.step().double() * x.step.double() / edge.step().double()
    largest = torch.stack([(units * layer.gain_and_bias(norm, b)[0]).abs().amax() for b in layer.widths]).amax()
    unit = 2.0 ** choose_shift(float(largest.detach())) / edge.step().double()
    return ((scale * unit).round() / unit - scale).detach()


def _float_product(layer: WidthLayer, norm: Norm | None, x: Signal) -> Tensor:
    y = layer.apply_weight(x.master, layer.weight, layer.bias)
    return y if norm is None else norm(y, layer.n)


def _layer_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    k: integers.LayerIntegers = run.constants[step.out]
    layer, x = net.layer(step.layer), ins[0]
    column = run.choice.of(step.layer) if run.choice else None
    if run.choice is None or column is None:
        return exact.layer(layer, k, x, run.widths[step.layer])
    return by_width(run.choice.widths[:, column], x, lambda rows, b, _: exact.layer(layer, k, rows, (b, b)))


# elementwise


def _affine(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    norm = net.norm(step.norm)
    assert norm is not None
    y = norm(ins[0].master, net.space.master, batch_statistics=run.batch_statistics)
    return Signal(y, net.edge(step), run.quantized)


def _affine_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    k: integers.RescaleIntegers = run.constants[step.out]
    shape = (-1, *(1 for _ in step.shape[1:]))
    m, c = (torch.from_numpy(v).to(ins[0].device).reshape(shape) for v in (k.m, k.c))
    return requantize(ins[0].long(), m.long(), c, k.shift, k.lo, k.hi).int()


def _add(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(ins[0].master + ins[1].master, net.edge(step), run.quantized)


def _add_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    k: integers.AddIntegers = run.constants[step.out]
    return add(ins[0].long(), ins[1].long(), k.constants, k.lo, k.hi).int()


def _multiply(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(ins[0].master * ins[1].master, net.edge(step), run.quantized)


def _multiply_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    k: integers.MultiplyIntegers = run.constants[step.out]
    return multiply(ins[0].long(), ins[1].long(), k.constants, k.lo, k.hi).int()


def _concat(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    raw = torch.cat([x.master for x in ins], 1 + int(step.attrs["axis"]))
    return Signal(raw, net.edge(step), run.quantized)


def _concat_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    ks: list[integers.RescaleIntegers] = run.constants[step.out]
    parts = [requantize(x.long(), int(k.m[0]), int(k.c[0]), k.shift, k.lo, k.hi) for x, k in zip(ins, ks, strict=True)]
    return torch.cat(parts, 1 + int(step.attrs["axis"])).int()


def _table(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    raw = FUNCTIONS[step.attrs["function"]](ins[0].master, *step.attrs["args"])
    return Signal(raw, net.edge(step), run.quantized)


def _table_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    table = torch.from_numpy(run.constants[step.out]).to(ins[0].device)
    return table[ins[0].long()].int()


# pools


def _avg_pool(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    return Signal(_average(ins[0].master, step), net.edge(step), run.quantized)


def _average(x: Tensor, step: Step) -> Tensor:
    a, one = step.attrs, len(step.shape) == 2
    if "adaptive" in a:
        run: Any = F.adaptive_avg_pool1d if one else F.adaptive_avg_pool2d
        return run(x, a["adaptive"])
    if one:
        return F.avg_pool1d(x, a["kernel"], a["stride"], a["padding"], a["ceil"], a["count_padding"])
    return F.avg_pool2d(x, a["kernel"], a["stride"], a["padding"], a["ceil"], a["count_padding"], a["divisor"])


def _avg_pool_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    return exact.average(run.constants[step.out], ins[0])


def _max_pool(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    a = step.attrs
    pool: Any = F.max_pool1d if len(step.shape) == 2 else F.max_pool2d
    return ins[0].like(pool(ins[0].raw, a["kernel"], a["stride"], a["padding"], a["dilation"], a["ceil"]))


def _max_pool_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    a = step.attrs
    pool: Any = F.max_pool1d if len(step.shape) == 2 else F.max_pool2d
    return pool(ins[0].float(), a["kernel"], a["stride"], a["padding"], a["dilation"], a["ceil"]).int()


# shapes: the same code for real values and for integers


def _reshaped(x: Tensor, step: Step) -> Tensor:
    return x.reshape(x.shape[0], *step.shape)


def _sliced(x: Tensor, step: Step) -> Tensor:
    a = step.attrs
    cuts = [slice(*cut) for cut in zip(a["starts"], a["stops"], a["steps"], strict=True)]
    return x[(slice(None), *cuts)]


def _padded(x: Tensor, step: Step, value: float = 0.0) -> Tensor:
    pairs = zip(reversed(step.attrs["before"]), reversed(step.attrs["after"]), strict=True)
    return F.pad(x, [v for pair in pairs for v in pair], value=value)


def _pad_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    return _padded(ins[0], step, run.constants[step.out])


def _dropout(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    """On real values (the noise scales what is kept); the edge stays, so that codes saturate rather than move."""
    if not run.batch_statistics:
        return ins[0]
    drop: Any = torch.feature_dropout if step.attrs["whole"] else torch.dropout
    return ins[0].like(drop(ins[0].raw, float(step.attrs["p"]), True))


# the controller


def _choose(net: Net, step: Step, ins: Sequence[Signal], run: Run) -> Signal:
    logits = ins[0].raw.float().reshape(-1, len(net.space.chosen), len(net.space.choices))
    noisy = logits if run.noise is None else logits + run.noise
    soft = F.softmax(noisy / (run.temperature or 1.0), dim=-1)
    hard = noisy.argmax(-1)
    run.choice = _choice(net, hard, soft, F.log_softmax(logits, -1).gather(-1, hard[..., None]).squeeze(-1))
    return ins[0]


def _choose_exact(net: Net, step: Step, ins: Sequence[Tensor], run: Run) -> Tensor:
    logits = ins[0].reshape(-1, len(net.space.chosen), len(net.space.choices))
    hard = exact.first_argmax(logits)
    run.choice = _choice(net, hard, torch.empty(0), torch.empty(0))
    return ins[0]


def _choice(net: Net, hard: Tensor, soft: Tensor, log_probability: Tensor) -> Choice:
    widths = torch.tensor(net.space.choices, device=hard.device)[hard]
    return Choice(net.space.chosen, widths, soft, log_probability)


Fake = Callable[["Net", Step, Sequence[Signal], Run], Signal]
Exact = Callable[["Net", Step, Sequence[Tensor], Run], Tensor]
Constants = Callable[["Net", Step], Any]


@dataclass(frozen=True)
class Operator:
    """One operator: differentiable on signals, exact on integer codes, and the constants of the latter."""

    fake: Fake
    exact: Exact
    constants: Constants = field(default=lambda net, step: None)


def _shape(transform: Callable[[Tensor, Step], Tensor]) -> Operator:
    """An operator that only moves elements."""
    return Operator(
        lambda net, step, ins, run: ins[0].like(transform(ins[0].raw, step)),
        lambda net, step, ins, run: transform(ins[0], step),
    )


OPERATORS: dict[str, Operator] = {
    "conv": Operator(_layer, _layer_exact, integers.layer_integers),
    "linear": Operator(_layer, _layer_exact, integers.layer_integers),
    "affine": Operator(_affine, _affine_exact, integers.affine_integers),
    "add": Operator(_add, _add_exact, integers.add_integers),
    "multiply": Operator(_multiply, _multiply_exact, integers.multiply_integers),
    "concat": Operator(_concat, _concat_exact, integers.concat_integers),
    "table": Operator(_table, _table_exact, integers.table_integers),
    "avg_pool": Operator(_avg_pool, _avg_pool_exact, integers.average_integers),
    "max_pool": Operator(_max_pool, _max_pool_exact),
    "reshape": _shape(_reshaped),
    "slice": _shape(_sliced),
    "pad": Operator(_shape(_padded).fake, _pad_exact, integers.pad_integers),
    "dropout": Operator(_dropout, lambda net, step, ins, run: ins[0]),
    "choose": Operator(_choose, _choose_exact),
}
