"""What an operator of an exported graph says of itself: where the user wrote it, and what it gives."""

from __future__ import annotations

import re

import torch
from torch import Tensor, fx


def module_path(call: fx.Node) -> str:
    """The user's path of the module whose forward made this node, such as ``layer1.0``."""
    stack = call.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1].removeprefix("L['self']").removeprefix(".") if paths else ""


def source_line(call: fx.Node) -> str:
    """``At file:line: code`` of the user's own frame."""
    frames = re.findall(r'File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]*)', call.meta.get("stack_trace") or "")
    own = [frame for frame in frames if "/torch/nn/" not in frame[0]] or frames
    return f"At {own[-1][0]}:{own[-1][1]}: `{own[-1][2].strip()}`." if own else ""


def tensors_of(program: torch.export.ExportedProgram) -> dict[str, tuple[str, Tensor]]:
    """Placeholder -> name and value of the parameter, buffer or constant that it stands for."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    state = {**dict(program.named_buffers()), **dict(program.named_parameters()), **program.constants}
    names |= signature.inputs_to_lifted_tensor_constants
    return {key: (name, state[name]) for key, name in names.items()}


def inputs_of(program: torch.export.ExportedProgram) -> list[fx.Node]:
    """The placeholders of what a model is given, in order."""
    tensors = tensors_of(program)
    return [n for n in program.graph.nodes if n.op == "placeholder" and n.name not in tensors]


def is_float(call: fx.Node) -> bool:
    """Whether a call gives floats."""
    return bool(call.meta["val"].dtype.is_floating_point)


def is_number(call: fx.Node) -> bool:
    """Whether a call gives a size, or several, or nothing."""
    held = call.meta.get("val")
    return not any(isinstance(each, Tensor) for each in (held if isinstance(held, (tuple, list)) else (held,)))


def in_place(call: fx.Node) -> bool:
    """Whether a call changes its first operand."""
    return str(call.target).split(".")[1].endswith("_") if str(call.target).startswith("aten.") else False


def shape_of(call: fx.Node) -> str:
    """The shape of a call's tensor, or of the first of its tensors, in words: the batch is N."""
    held = call.meta["val"]
    sizes = tuple((held if isinstance(held, Tensor) else held[0]).shape)
    names = {str(symbol) for d in sizes if isinstance(d, torch.SymInt) for symbol in d.node.expr.free_symbols}
    return re.sub("|".join(names) or "$^", "N", str(sizes))
