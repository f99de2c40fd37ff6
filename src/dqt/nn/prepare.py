"""``dqt.prepare``: a float model becomes a :class:`~dqt.nn.net.Net`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from dqt.arith.errors import InputError
from dqt.arith.plan import Layer, Space
from dqt.nn.apart import set_apart
from dqt.nn.calibrate import set_ranges
from dqt.nn.calls import module_path, source_line
from dqt.nn.capture import Captured, NormSpec
from dqt.nn.captures import Captures
from dqt.nn.config import Config
from dqt.nn.controller import HIDDEN, NORM, Plans, controller_layers, plan_controller, plan_late
from dqt.nn.dimensions import Names
from dqt.nn.emission import emitted
from dqt.nn.errors import Obstacle, UnsupportedError
from dqt.nn.example import Example
from dqt.nn.export import export, unwrapped
from dqt.nn.graph import Node, first_and_last
from dqt.nn.guards import outside_inference_mode
from dqt.nn.hooks import Uncalled
from dqt.nn.layers import LAYERS, WidthLayer
from dqt.nn.net import Net, quantizer_key
from dqt.nn.norms import Norm
from dqt.nn.operator import operators
from dqt.nn.outputs import Output, Signature, output_names, states_of
from dqt.nn.passes import rewritten
from dqt.nn.ranges import Kind, Quantizer
from dqt.nn.scales import Held, RowAffine, Rows, Scale
from dqt.nn.set_range import Ranges
from dqt.nn.ties import tie
from dqt.nn.traced import as_module
from dqt.nn.variants import Variant, joint, with_constants

DEFAULT_MOMENTUM = 0.1


@outside_inference_mode
def prepare(
    model: nn.Module,
    example_inputs: Any,
    config: Config | None = None,
    *,
    dims: Mapping[Any, Any] | None = None,
    state: Mapping[str, str] | None = None,
) -> Net:
    """Capture ``model`` and make it trainable and servable at every width.

    Args:
        model: any module that torch.export can capture. It is not changed, and may run in other threads meanwhile. What
            is wrapped around it (``DataParallel``, ``torch.compile`` and the like) is taken off: names are those of the
            model inside.
        example_inputs: a tensor ``[N, ...]`` as the model takes it; for several, a tuple of the arguments of forward,
            or a dict by name. Fixes every dimension but the batch and those of ``dims``, and gives first ranges. Inputs
            are called as the parameters of forward are; what else is among them (``None``, flags) becomes a part of the
            network.
        config: widths and how they are trained; default ``Config()``.
        dims: dimensions beside the batch that may have other sizes than in the example, such as
            ``{"image": {2: "height", 3: "width"}}``: a name, or a ``torch.export.Dim`` with its range.
        state: input -> output that is this input in the next run, such as ``{"hidden": "1"}``: frames before this one,
            the hidden values of a recurrent cell. In training it is an input and an output like others; the program
            keeps it from run to run, beginning with zeros.

    Returns:
        the network, on the model's device and in its training mode. What the model does not train (``requires_grad``
        is False, or a buffer serves as a weight), the network does not train; a norm in evaluation mode inside a model
        in training mode stays so.

    Raises:
        UnsupportedError: an operator or a control flow that cannot be quantized, a parameter that is
            not finite, or an example that is no batch of floats.
        InputError: ``model`` is no module, or prepared already.

    Warns:
        HookWarning: the model has hooks, which are not a part of the network.
    """
    config = Config() if config is None else config
    if not isinstance(config, Config):
        raise InputError(f"the config is a {type(config).__name__}: pass dqt.Config(widths=(2, 4, 8), ...)")
    model = _model(model)
    example = Example.of(model, example_inputs)
    exported = export(model, example, Names.of(dims, example.inputs, example.tensors))
    captures = Captures.of(exported, example)
    first, names = captures.each[0], output_names(exported.result)
    _set_momentum(first, model)
    for captured in captures.each:
        _rewrite(captured, states_of(state, first.inputs, names), config)
    outputs = tuple(map(Output, names, first.graph.outputs))
    signature = Signature(first.inputs, outputs, exported.result, first.graph.states)
    net = _net(captures, config, signature).to(example.tensors[0].device)
    set_ranges(net.eval(), [example.tensors], Ranges(net, "max", parts=False, zeros=False))
    if net.variants:
        _check_sizes(net, first)
    return _in_modes_of(model, net)


def _net(captures: Captures, config: Config, signature: Signature) -> Net:
    """The network of rewritten captures, whose ranges nothing has set yet."""
    first = captures.each[0]
    layers = _layers(first)
    plans = [_controller(captured, config, signature, layers) for captured in captures.each]
    own = controller_layers(plans[0]) if plans[0] else ()
    edge_width = config.edge_width or config.master
    space = Space(config.master, config.widths, edge_width, layers, own, config.choices)
    variants = [_variant(*each) for each in zip(captures.each, plans, captures.sizing.at, strict=True)]
    nodes = _nodes(variants, captures)
    net = Net(config, space, nodes, signature)
    _fill(net, captures, plans[0])
    if signature.inputs.dims:
        net.variants = tuple((with_constants(each.nodes, nodes), dict(each.sizes)) for each in variants)
    return net


def _rewrite(captured: Captured, states: Mapping[str, int], config: Config) -> None:
    captured.graph = replace(captured.graph, states=states)
    _check_states(captured)
    if config.apart:
        set_apart(captured)
    captured.graph = rewritten(captured.graph, input_signed=config.input_signed)
    captured.shapes |= {node.out: node.shape for node in captured.graph.nodes}


def _variant(captured: Captured, plans: Plans | None, sizes: Mapping[str, int]) -> Variant:
    nodes = captured.graph.nodes if plans is None else plans.nodes
    shapes = captured.shapes | {node.out: node.shape for node in nodes}
    return Variant(nodes, shapes, sizes, captured.graph.scales, captured.held)


def _nodes(variants: Sequence[Variant], captures: Captures) -> tuple[Node, ...]:
    """The nodes that hold at every size.

    Raises:
        UnsupportedError: names those that do not.
    """
    if len(variants) == 1:
        return variants[0].nodes
    first = captures.each[0]
    found = joint(variants, {one.name: one.dims for one in first.inputs.each})
    if found.wrong:
        raise UnsupportedError.of([_dependent(first, value, why) for value, why in found.wrong.items()])
    return tuple(found.nodes)


def _dependent(captured: Captured, value: str, why: str) -> Obstacle:
    """What depends on a size and cannot be said relatively, as an obstacle."""
    advice = "Fix that dimension, or replace the operator by one that does not depend on it."
    call = captured.calls.get(value)
    if call is None:
        return Obstacle(f"{value or 'the program'} {why}.", advice=advice)
    return Obstacle(f"{why}.", str(call.target), module_path(call) or "the model's forward", source_line(call), advice)


def _check_sizes(net: Net, captured: Captured) -> None:
    """The program can be bound to other sizes.

    Raises:
        UnsupportedError: names the operators that cannot.
    """
    _, whole = emitted(net)
    if whole.wrong:
        raise UnsupportedError.of([_dependent(captured, value, why) for value, why in whole.wrong.items()])
    program = net.program()
    for _, sizes in net.variants[1:2]:
        program.bind(**sizes)


def _model(model: Any) -> nn.Module:
    if isinstance(model, type):
        raise InputError(f"dqt.prepare takes a model, not its class: pass {model.__name__}(...)")
    if not isinstance(model, nn.Module):
        raise InputError(f"dqt.prepare takes a torch module, not an object of type {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("dqt.prepare takes a torch module, not a scripted or traced one: pass the module before that")
    model = as_module(unwrapped(model))
    if any(isinstance(module, Net) for module in model.modules()):
        raise InputError("the model is, or holds, a network that dqt.prepare made already: pass the float model")
    return model


def _set_momentum(captured: Captured, model: nn.Module) -> None:
    """A cumulative average (``momentum=None``), which evaluation cannot tell from a frozen one, follows at 0.1."""
    modules = dict(model.named_modules())
    for path, spec in captured.norms.items():
        if getattr(modules.get(path), "momentum", spec.momentum) is None:
            captured.norms[path] = replace(spec, momentum=DEFAULT_MOMENTUM)


def _check_states(captured: Captured) -> None:
    """A state comes back as it went in."""
    for name, place in captured.graph.states.items():
        before, after = captured.shapes[name], captured.shapes[captured.graph.outputs[place]]
        if before != after:
            raise UnsupportedError(f"state {name!r} of shape {before} would become one of {after}")


def _layers(captured: Captured) -> tuple[Layer, ...]:
    layers, edges = [], first_and_last(captured.graph)
    for node in captured.graph.nodes:
        if node.layer:
            weight = captured.layers[node.layer][0]
            counts = operators()[node.kind].counts
            macs, inputs, outputs = counts(node, tuple(weight.shape), captured.shapes[node.ins[0]])
            edge = node.apart or node.layer in edges
            layers.append(Layer(node.layer, macs, weight.numel(), inputs, outputs, edge))
        if node.product:
            depth, outputs = captured.shapes[node.ins[0]][-1], math.prod(node.shape)
            inputs = sum(math.prod(captured.shapes[name]) for name in node.ins)
            layers.append(Layer(node.product, outputs * depth, 0, inputs, outputs))
    if not captured.layers:
        raise UnsupportedError("the model has no convolution and no linear layer: there is nothing to quantize")
    return tuple(layers)


def _controller(captured: Captured, config: Config, signature: Signature, layers: tuple[Layer, ...]) -> Plans | None:
    if config.controller is None:
        return None
    first = signature.inputs.each[0]
    if config.controller.reads == "input" and first.kind == "integer":
        raise UnsupportedError(
            f'the controller reads the input {first.name!r}, which holds integers: pass Controller(reads="stem")'
        )
    chosen = tuple(layer.name for layer in layers if not layer.edge)
    if not chosen:
        raise UnsupportedError(
            "the model has no layer between its first and its last: a controller has nothing to choose"
        )
    parameters = sum(layer.weights for layer in layers)
    if config.controller.late:
        plans = plan_late(config, captured.graph, captured.shapes, chosen, parameters)
    else:
        each = (config.controller, len(config.choices), captured.graph, captured.shapes)
        plans = plan_controller(*each, len(chosen), parameters)
    hidden = len(plans.layers[HIDDEN][0])
    captured.norms[NORM] = NormSpec(None, None, torch.zeros(hidden), torch.ones(hidden), 0.1, 1e-5)
    return plans


def _fill(net: Net, captures: Captures, plans: Plans | None) -> None:
    captured, held = captures.each[0], (captures.longest or captures.each[0]).held
    c = net.config
    chosen = set(net.space.chosen) if c.norm == "per_width" else set()  # edges run at one width, and learn there
    normed: set[str] = set()
    for node in net.nodes:
        if node.layer:
            own = plans is not None and node.layer in plans.layers
            weight, bias = plans.layers[node.layer] if plans and own else captured.layers[node.layer]
            widths = (c.master,) if own else c.widths
            args = (node.layer, weight, bias, c.master, widths, c.weight_clip)
            place(net, node.layer, LAYERS[node.kind](*args, **node.attrs))
        if "path" in node.attrs:
            place(net, node.attrs["path"], Held(*held[node.attrs["path"]]))
        if node.norm in captured.graph.scales:
            place(net, node.norm, Scale(captured.graph.scales[node.norm]))
        elif node.norm and node.norm not in normed:
            normed.add(node.norm)
            s = captured.norms[node.norm]
            layers = {other.layer for other in net.nodes if other.norm == node.norm}  # several where it is called again
            widths = c.widths if layers & chosen else (c.master,)
            norm = Norm(s.weight, s.bias, s.mean, s.var, eps=s.eps, momentum=s.momentum, widths=widths, master=c.master)
            place(net, node.norm, norm)
        if node.quantizer in ("relu", "unsigned", "signed", "unit"):
            kind, features = cast("Kind", node.quantizer), math.prod(node.shape)
            net.quantizers[quantizer_key(node.out)] = Quantizer(
                node.out, kind, c.master, features, c.momentum, node.cap
            )
    kind = "signed" if c.input_signed else "unsigned"
    for one in net.inputs.each:
        if one.kind == "float" and net.owners[one.name] == one.name and one.name not in net.floats:
            net.quantizers[quantizer_key(one.name)] = Quantizer(
                one.name, kind, c.master, math.prod(one.shape), c.momentum
            )
    for path, module in captured.modules.items():
        place(net, path, module)
    _freeze(net, captured.frozen)
    tie(net, captured.uses)


def _freeze(net: Net, frozen: set[str]) -> None:
    """What the model does not train, the network does not train: at no width, and not by way of a weight's clip.

    A learned clip decides which integers a weight becomes, so the clip of a frozen weight is frozen with it. The ranges
    of activations are not a part of the model that was frozen: they are learned, or follow the data, everywhere.
    """
    for path, module in net.named_modules():
        if isinstance(module, WidthLayer | Norm | RowAffine | Rows):
            for leaf in ("weight", "bias"):
                if f"{path}.{leaf}" in frozen:
                    _freeze_one(module, leaf)


def _freeze_one(module: WidthLayer | Norm | RowAffine | Rows, leaf: str) -> None:
    for part in module.sets if isinstance(module, Norm) else (module,):
        getattr(part, leaf).requires_grad_(False)
    if isinstance(module, WidthLayer) and module.learned and leaf == "weight":
        module.clip.requires_grad_(False)


def _in_modes_of(model: nn.Module, net: Net) -> Net:
    """``net`` in the mode of ``model``, and its norms in those of the model's, one of which may be frozen."""
    net.train(model.training)
    modules = dict(model.named_modules())
    for path, module in net.named_modules():
        if isinstance(module, Norm) and path in modules and not modules[path].training:
            module.eval()
    return net


def place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put ``module`` at a dotted path below ``root``, making containers on the way.

    Written to the module tables directly: a user's module may be called as an attribute of ours is (``layers``).
    """
    *parents, leaf = path.split(".")
    for name in parents:
        root = root._modules.setdefault(name, Uncalled()) or root
    earlier = root._modules.get(leaf)
    if earlier is not None:  # a container that was made for its children
        module._modules.update(earlier._modules)
    root._modules[leaf] = module
