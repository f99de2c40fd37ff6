"""torch.export's graph -> steps. One table, ``ATEN``: an operator is one entry, and a handler of a few lines."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from dqt.nn.errors import UnsupportedError
from dqt.nn.graph import INPUT, Step

Handler = Callable[["Builder", fx.Node], str]
OWN_EDGE = {"conv", "linear", "add", "multiply", "concat", "avg_pool", "affine"}
"""Kinds whose result becomes codes of an edge of its own, so that a ReLU can be that edge's clamp."""


@dataclass(frozen=True)
class NormSpec:
    """What a batch norm was: tensors and constants."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    var: Tensor
    momentum: float
    eps: float


@dataclass
class Captured:
    """The network as steps, and the tensors that its layers and norms start from."""

    input_shape: tuple[int, ...]
    steps: list[Step] = field(default_factory=list)
    layers: dict[str, tuple[Tensor, Tensor | None]] = field(default_factory=dict)
    norms: dict[str, NormSpec] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def export(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """The inference graph of ``model`` with a free batch dimension.

    Raises:
        UnsupportedError: torch.export cannot capture it.
    """
    training = {name: module.training for name, module in model.named_modules()}
    batch = example if example.shape[0] > 1 else torch.cat([example, example])
    try:
        model.eval()
        free = torch.export.Dim("batch", min=1)
        return torch.export.export(model, (batch,), dynamic_shapes=({0: free},), strict=False)
    except Exception as error:  # torch.export raises many types, some of them private
        raise UnsupportedError(_capture_failure(error)) from error
    finally:
        for name, module in model.named_modules():
            module.training = training[name]


def _capture_failure(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0][:300]
    if re.search(r"data-dependent|GuardOnDataDependent|DynamicControlFlow", f"{type(error).__name__} {text}", re.IGNORECASE):
        return (
            f"the model's control flow depends on its data, so there is no one graph: {first} "
            "(move the condition out of forward, or prepare the part without it)"
        )
    if re.search(r"batch|Constraints violated|specializ", text):
        return f"the model does not accept every batch size: {first} (use x.shape[0] or flatten(1), not a number)"
    return f"torch.export cannot capture the model: {first}"


class Builder:
    """Walks the exported graph and collects steps; handlers in ``ATEN`` call its methods."""

    def __init__(self, program: torch.export.ExportedProgram, example: Tensor) -> None:
        self.captured = Captured(tuple(example.shape[1:]))
        self.values: dict[fx.Node, str] = {}
        self.tensors = _tensors(program)
        self.names: dict[str, int] = {}
        self.used: dict[int, str] = {}
        self.graph = program.graph
        self.order = {node: i for i, node in enumerate(self.graph.nodes)}
        placeholders = [n for n in self.graph.nodes if n.op == "placeholder" and n.name not in self.tensors]
        if len(placeholders) != 1:
            raise UnsupportedError(f"the model takes {len(placeholders)} tensors; it must take one")
        self.values[placeholders[0]] = INPUT
        self.captured.shapes[INPUT] = self.captured.input_shape

    def build(self) -> Captured:
        """Run every handler; check the output."""
        for node in self.graph.nodes:
            if node.op == "call_function" and (node.users or _in_place(node)) and not _is_number(node):
                handler = ATEN.get(str(node.target))
                if handler is None:
                    raise self.unsupported(node, "is not among the operators that can be quantized")
                self.values[node] = handler(self, node)
                if _in_place(node):
                    self._overwrite(node)
        (results,) = next(n for n in self.graph.nodes if n.op == "output").args
        if len(results) != 1 or not isinstance(results[0], fx.Node):
            raise UnsupportedError(f"the model returns {len(results)} values; it must return one tensor")
        self._finish(self.values[results[0]])
        return self.captured

    def _overwrite(self, node: fx.Node) -> None:
        """After an in-place operator, whoever reads its operand reads the result."""
        changed = node.args[0]
        if isinstance(changed, fx.Node):
            old = self.values[changed]
            if _is_view(self._step(old)) and any(self.order[u] > self.order[node] for u in self._readers(old)):
                raise self.unsupported(node, "changes a view in place, and with it a tensor that is read again")
            for alias in [n for n, name in self.values.items() if name == old]:
                self.values[alias] = self.values[node]

    def _step(self, value: str) -> Step | None:
        return next((s for s in self.captured.steps if s.out == value), None)

    def _readers(self, value: str) -> set[fx.Node]:
        aliases = [n for n, name in self.values.items() if name == value]
        return {user for alias in aliases for user in alias.users} - set(aliases)

    def _finish(self, output: str) -> None:
        steps = self.captured.steps
        if not steps or output == INPUT:
            raise UnsupportedError("the model does nothing to its input")
        needed = {output}
        for step in reversed(steps):
            if step.out in needed:
                needed.update(step.ins)
        steps[:] = [step for step in steps if step.out in needed]
        last = steps[-1]
        if last.out == output and last.kind in ("conv", "linear") and last.edge == "signed":
            steps[-1] = replace(last, edge="wide")
        elif last.out != output:
            raise UnsupportedError("the model's output is not the last thing it computes")

    # what handlers use

    def arg(self, node: fx.Node, index: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        return node.args[index] if index < len(node.args) else node.kwargs.get(name, default)

    def value(self, node: fx.Node, arg: Any) -> str:
        """The name of an operand.

        Raises:
            UnsupportedError: it is a number, a parameter or a constant.
        """
        if isinstance(arg, fx.Node) and arg in self.values:
            return self.values[arg]
        raise self.unsupported(node, "has an operand that is a constant or a parameter, not an activation")

    def tensor(self, node: fx.Node, arg: Any) -> tuple[str, Tensor]:
        """Name and value of a parameter or buffer that is used here and nowhere else."""
        if not isinstance(arg, fx.Node) or arg.name not in self.tensors:
            raise self.unsupported(node, "has a weight that is computed, not a parameter of the model")
        name, tensor = self.tensors[arg.name]
        earlier = self.used.setdefault(tensor.data_ptr() or id(tensor), f"{name} in {node.name}")
        if earlier != f"{name} in {node.name}":
            raise self.unsupported(
                node, f"shares its weight {name!r} with another layer ({earlier}): each layer needs a weight of its own"
            )
        return name, tensor

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """The node's shape without the batch.

        Raises:
            UnsupportedError: the batch is not its first dimension, or other dimensions are not fixed.
        """
        shape = tuple(node.meta["val"].shape)
        if not shape or isinstance(shape[0], int) or not all(isinstance(d, int) for d in shape[1:]):
            raise self.unsupported(node, f"gives shape {tuple(shape)}: the batch must stay the first dimension, alone")
        return shape[1:]

    def fresh(self, base: str) -> str:
        """A name that no other value has."""
        count = self.names.get(base, 0)
        self.names[base] = count + 1
        return self.fresh(f"{base}_{count}") if count else base

    def add(self, node: fx.Node, kind: str, ins: Sequence[str], name: str = "", **fields: Any) -> str:
        """Append a step that computes ``node``."""
        shape = fields.pop("shape", None) or self.shape(node)
        base = name or ".".join(part for part in (module_path(node), node.name) if part)
        step = Step(kind, self.fresh(base), tuple(ins), shape, **fields)
        self.captured.steps.append(step)
        self.captured.shapes[step.out] = shape
        return step.out

    def keep(self, node: fx.Node, kind: str, **attrs: Any) -> str:
        """Append a step that keeps the codes of its input."""
        return self.add(node, kind, [self.value(node, node.args[0])], edge="same", attrs=attrs)

    def producer(self, node: fx.Node, arg: Any) -> Step | None:
        """The step that made ``arg``, if nobody else reads what ``node`` reads (so that the two can be one)."""
        if not isinstance(arg, fx.Node) or arg not in self.values:
            return None
        others = self._readers(self.values[arg]) - {node}
        if any(not _in_place(node) or self.order[user] < self.order[node] for user in others):
            return None
        return self._step(self.values[arg])

    def update(self, old: Step, **changes: Any) -> str:
        """Replace a step by a changed one."""
        steps = self.captured.steps
        steps[steps.index(old)] = replace(old, **changes)
        return old.out

    def unsupported(self, node: fx.Node, why: str) -> UnsupportedError:
        """An error that names the operator, the module path and the source line."""
        path = module_path(node) or "the model's forward"
        return UnsupportedError(
            f"{node.target} in {path} {why}. {source_line(node)} Replace it by supported operators "
            f"(docs/guide/your-model.md lists them), or leave that part outside the prepared model."
        )


def module_path(node: fx.Node) -> str:
    """The user's path of the module whose forward made this node, such as ``layer1.0``."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1].removeprefix("L['self']").removeprefix(".") if paths else ""


def source_line(node: fx.Node) -> str:
    """``At file:line: code`` of the user's own frame."""
    frames = re.findall(r'File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]*)', node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if "/torch/nn/" not in frame[0]] or frames
    return f"At {own[-1][0]}:{own[-1][1]}: `{own[-1][2].strip()}`." if own else ""


def _tensors(program: torch.export.ExportedProgram) -> dict[str, tuple[str, Tensor]]:
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    state = {**dict(program.named_buffers()), **dict(program.named_parameters()), **program.constants}
    names |= signature.inputs_to_lifted_tensor_constants
    return {key: (name, state[name]) for key, name in names.items()}


def _is_number(node: fx.Node) -> bool:
    return not isinstance(node.meta.get("val"), (Tensor, tuple, list))


def _in_place(node: fx.Node) -> bool:
    return str(node.target).split(".")[1].endswith("_") if str(node.target).startswith("aten.") else False


def _is_view(step: Step | None) -> bool:
    return step is not None and step.kind in ("reshape", "slice")


def _pair(value: Any, count: int = 2) -> tuple[int, ...]:
    values = [value] * count if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * count if len(values) == 1 else values))


def _stem(name: str) -> str:
    """``layer1.0.conv1.weight`` -> ``layer1.0.conv1``: where our own module goes."""
    path, _, leaf = name.rpartition(".")
    return (path or "model") if leaf in ("weight", "running_mean") else name


# layers that carry a width


def _layer(b: Builder, node: fx.Node, kind: str, x: str, attrs: dict[str, Any]) -> str:
    name, weight = b.tensor(node, node.args[1])
    bias = b.arg(node, 2, "bias")
    path = _stem(name)
    b.captured.layers[path] = (weight, b.tensor(node, bias)[1] if bias is not None else None)
    return b.add(node, kind, [x], path, layer=path, attrs=attrs)


def _conv(b: Builder, node: fx.Node) -> str:
    weight = b.tensor(node, node.args[1])[1]
    dims = weight.dim() - 2
    stride = _pair(b.arg(node, 3, "stride", 1), dims)
    dilation = _pair(b.arg(node, 5, "dilation", 1), dims)
    padding = _padding(b.arg(node, 4, "padding", 0), tuple(weight.shape[2:]), dilation)
    x = b.value(node, node.args[0])
    before = b.producer(node, node.args[0])
    if before is not None and before.kind == "pad" and _spatial_only(before):
        pads = zip(before.attrs["before"][1:], before.attrs["after"][1:], strict=True)
        padding = tuple(p + q for p, q in zip(padding, (v for pair in pads for v in pair), strict=True))
        b.captured.steps.remove(before)
        x = before.ins[0]
    groups = int(b.arg(node, 6, "groups", 1))
    return _layer(b, node, "conv", x, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})


def _spatial_only(pad: Step) -> bool:
    return pad.attrs["before"][0] == 0 and pad.attrs["after"][0] == 0


def _padding(value: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    if value == "valid":
        return (0,) * (2 * len(kernel))
    if value == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple(v for total in totals for v in (total // 2, total - total // 2))
    return tuple(v for p in _pair(value, len(kernel)) for v in (p, p))


def _linear(b: Builder, node: fx.Node) -> str:
    return _layer(b, node, "linear", b.value(node, node.args[0]), {})


def _batch_norm(b: Builder, node: fx.Node) -> str:
    weight, bias, mean, var, _, momentum, eps = (node.args[i] for i in range(1, 8))
    if mean is None or var is None:
        raise b.unsupported(node, "keeps no running statistics, so it has no fixed arithmetic at inference")
    name, mean_value = b.tensor(node, mean)
    w, v = (b.tensor(node, p)[1] if p is not None else None for p in (weight, bias))
    path = _stem(name)
    spec = NormSpec(w, v, mean_value, b.tensor(node, var)[1], float(momentum), float(eps))  # type: ignore[arg-type]
    b.captured.norms[path] = spec
    before = b.producer(node, node.args[0])
    if before is not None and before.layer and not before.norm and before.edge == "signed" and _channels_match(before):
        return b.update(before, norm=path)
    return b.add(node, "affine", [b.value(node, node.args[0])], path, norm=path)


def _channels_match(step: Step) -> bool:
    """Batch norm works on dimension 1; a linear layer's channels are last."""
    return step.kind == "conv" or len(step.shape) == 1


# activations


def _relu(b: Builder, node: fx.Node, cap: float = math.inf) -> str:
    before = b.producer(node, node.args[0])
    if before is not None and before.kind in OWN_EDGE and before.edge == "signed":
        return b.update(before, edge="relu", cap=cap)
    return b.add(node, "table", [b.value(node, node.args[0])], edge="relu", cap=cap, attrs={"function": "identity", "args": ()})


def _hardtanh(b: Builder, node: fx.Node) -> str:
    low, high = (float(b.arg(node, i, key, d)) for i, key, d in ((1, "min_val", -1.0), (2, "max_val", 1.0)))
    return _relu(b, node, high) if low == 0 and high > 0 else _table("hardtanh")(b, node)


def _table(function: str) -> Handler:
    def handler(b: Builder, node: fx.Node) -> str:
        values = [*node.args[1:], *node.kwargs.values()]
        edge = "unsigned" if function in ("sigmoid", "hardsigmoid") else "signed"
        attrs = {"function": function, "args": tuple(v for v in values if v is not None)}
        return b.add(node, "table", [b.value(node, node.args[0])], edge=edge, attrs=attrs)

    return handler


# elementwise


def _binary(kind: str) -> Handler:
    def handler(b: Builder, node: fx.Node) -> str:
        if float(node.kwargs.get("alpha", 1)) != 1:  # type: ignore[arg-type]
            raise b.unsupported(node, "scales an operand (alpha)")
        return b.add(node, kind, [b.value(node, node.args[0]), b.value(node, node.args[1])])

    return handler


def _concat(b: Builder, node: fx.Node) -> str:
    operands: Sequence[Any] = node.args[0]  # type: ignore[assignment]
    axis = int(b.arg(node, 1, "dim", 0)) % len(node.meta["val"].shape)
    if axis == 0:
        raise b.unsupported(node, "joins along the batch")
    return b.add(node, "concat", [b.value(node, operand) for operand in operands], attrs={"axis": axis - 1})


# pools


def _max_pool(b: Builder, node: fx.Node) -> str:
    dims = len(b.shape(node)) - 1
    kernel = _pair(node.args[1], dims)
    attrs = {
        "kernel": kernel,
        "stride": _pair(b.arg(node, 2, "stride") or kernel, dims),
        "padding": _pair(b.arg(node, 3, "padding", 0), dims),
        "dilation": _pair(b.arg(node, 4, "dilation", 1), dims),
        "ceil": bool(b.arg(node, 5, "ceil_mode", False)),
    }
    return b.keep(node, "max_pool", **attrs)


def _avg_pool(b: Builder, node: fx.Node) -> str:
    dims = len(b.shape(node)) - 1
    kernel = _pair(node.args[1], dims)
    attrs = {
        "kernel": kernel,
        "stride": _pair(b.arg(node, 2, "stride") or kernel, dims),
        "padding": _pair(b.arg(node, 3, "padding", 0), dims),
        "ceil": bool(b.arg(node, 4, "ceil_mode", False)),
        "count_padding": bool(b.arg(node, 5, "count_include_pad", True)),
        "divisor": b.arg(node, 6, "divisor_override"),
    }
    return b.add(node, "avg_pool", [b.value(node, node.args[0])], attrs=attrs)


def _adaptive_pool(b: Builder, node: fx.Node) -> str:
    return b.add(node, "avg_pool", [b.value(node, node.args[0])], attrs={"adaptive": b.shape(node)[1:]})


def _mean(b: Builder, node: fx.Node) -> str:
    x = b.value(node, node.args[0])
    shape = b.captured.shapes[x]
    axes: Any = b.arg(node, 1, "dim")
    rank = len(shape) + 1
    dims = {int(d) % rank for d in ([axes] if isinstance(axes, int) else axes or [])}
    if rank < 3 or dims != set(range(2, rank)):
        raise b.unsupported(node, f"averages over dimensions {sorted(dims)}; only all the spatial ones can be")
    pooled = b.add(node, "avg_pool", [x], attrs={"adaptive": (1,) * (rank - 2)}, shape=(shape[0], *(1,) * (rank - 2)))
    if b.arg(node, 2, "keepdim", False):
        return pooled
    return b.add(node, "reshape", [pooled], edge="same")


# shapes


def _reshape(b: Builder, node: fx.Node) -> str:
    x = b.value(node, node.args[0])
    return x if b.shape(node) == b.captured.shapes[x] else b.keep(node, "reshape")


def _slice(b: Builder, node: fx.Node) -> str:
    x = b.value(node, node.args[0])
    shape = b.captured.shapes[x]
    dim = int(b.arg(node, 1, "dim", 0)) % (len(shape) + 1)
    start, stop, step = b.arg(node, 2, "start"), b.arg(node, 3, "end"), int(b.arg(node, 4, "step", 1))
    if dim == 0:
        if start in (None, 0) and step == 1 and stop in (None, 2**63 - 1):
            return x
        raise b.unsupported(node, "slices the batch")
    first, last, _ = slice(start, stop).indices(shape[dim - 1])
    if (first, last, step) == (0, shape[dim - 1], 1):
        return x
    starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[dim - 1], stops[dim - 1], steps[dim - 1] = first, last, step
    return b.keep(node, "slice", starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))


def _pad(b: Builder, node: fx.Node) -> str:
    shape = b.captured.shapes[b.value(node, node.args[0])]
    mode, value = b.arg(node, 2, "mode", "constant"), b.arg(node, 3, "value", 0)
    if str(node.target) == "aten.constant_pad_nd.default":
        mode, value = "constant", b.arg(node, 2, "value", 0)
    amounts = [int(v) for v in node.args[1]]  # type: ignore[union-attr]
    if mode != "constant" or value not in (None, 0, 0.0) or min(amounts, default=0) < 0 or len(amounts) > 2 * len(shape):
        raise b.unsupported(node, f"pads with mode {mode!r}, value {value}, amounts {amounts}; only zeros can be added")
    pairs = list(zip(amounts[0::2], amounts[1::2], strict=True))
    pairs += [(0, 0)] * (len(shape) - len(pairs))
    before, after = zip(*reversed(pairs), strict=True)
    return b.keep(node, "pad", before=before, after=after)


def _dropout(b: Builder, node: fx.Node) -> str:
    p = float(b.arg(node, 1, "p", 0.5))
    return b.keep(node, "dropout", p=p) if p > 0 else _same(b, node)


def _same(b: Builder, node: fx.Node) -> str:
    return b.value(node, node.args[0])


def _both(name: str, handler: Handler) -> dict[str, Handler]:
    """An operator and its in-place form."""
    return {f"aten.{name}": handler, f"aten.{name.replace('.', '_.', 1)}": handler}


ATEN: dict[str, Handler] = {
    "aten.conv1d.default": _conv,
    "aten.conv2d.default": _conv,
    "aten.conv1d.padding": _conv,
    "aten.conv2d.padding": _conv,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _batch_norm,
    **_both("relu.default", _relu),
    **_both("relu6.default", lambda b, node: _relu(b, node, 6.0)),
    **_both("hardtanh.default", _hardtanh),
    **_both("hardswish.default", _table("hardswish")),
    **_both("hardsigmoid.default", _table("hardsigmoid")),
    **_both("silu.default", _table("silu")),
    **_both("gelu.default", _table("gelu")),
    **_both("sigmoid.default", _table("sigmoid")),
    **_both("tanh.default", _table("tanh")),
    **_both("leaky_relu.default", _table("leaky_relu")),
    **_both("add.Tensor", _binary("add")),
    **_both("mul.Tensor", _binary("multiply")),
    "aten.cat.default": _concat,
    "aten.max_pool1d.default": _max_pool,
    "aten.max_pool2d.default": _max_pool,
    "aten.avg_pool1d.default": _avg_pool,
    "aten.avg_pool2d.default": _avg_pool,
    "aten.adaptive_avg_pool1d.default": _adaptive_pool,
    "aten.adaptive_avg_pool2d.default": _adaptive_pool,
    "aten.mean.dim": _mean,
    "aten.flatten.using_ints": _reshape,
    "aten.reshape.default": _reshape,
    "aten.view.default": _reshape,
    "aten.squeeze.dim": _reshape,
    "aten.squeeze.dims": _reshape,
    "aten.unsqueeze.default": _reshape,
    "aten.slice.Tensor": _slice,
    "aten.pad.default": _pad,
    "aten.constant_pad_nd.default": _pad,
    **_both("dropout.default", _dropout),
    **_both("feature_dropout.default", _dropout),
    "aten.alias.default": _same,
    "aten.clone.default": _same,
    "aten.contiguous.default": _same,
    "aten.detach.default": _same,
}
