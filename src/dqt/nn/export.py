"""torch.export's graph of a model, which stays untouched: what is exported is a copy that shares its tensors.

torch.export is not safe for threads, and puts stand-ins into the module that it exports while it works. So one export
runs at a time, and never on the user's own module, which another thread may be running.
"""

from __future__ import annotations

import copy
import io
import logging
import os
import re
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO, cast

import torch
from torch import Tensor, fx, nn

from dqt.nn.dimensions import BATCH, Names
from dqt.nn.errors import HookWarning, UnsupportedError
from dqt.nn.example import PLAIN, Example, mismatch
from dqt.nn.hooks import is_a_part
from dqt.nn.patches import answered
from dqt.nn.structure import Structure, dotted, leaves

WRAPPERS = {
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
}
"""Modules around a model that compute what it computes, and where they hold it."""
REGIONS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")
"""What torch.export makes of ``torch.no_grad()`` and autocast: an operator that runs a graph of its own."""
COPIED = (nn.Module, dict, list, tuple, set, types.MethodType, partial)
"""What an attribute of a module may be and lead to the module itself; anything else is shared with the copy."""
_LOCKS = {"export": threading.RLock()}
if hasattr(os, "register_at_fork"):  # in a child of a fork there is no thread that would ever release it
    os.register_at_fork(after_in_child=lambda: _LOCKS.update(export=threading.RLock()))


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, without what is wrapped around it for several devices, for compilation or for averaging."""
    while (name := _name_of(model)) in WRAPPERS:
        model = getattr(model, WRAPPERS[name])
    return model


def _name_of(model: nn.Module) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


@dataclass(frozen=True)
class Exported:
    """What torch.export gave: the inference graph, whose inputs are the tensors of the example in order.

    Attributes:
        result: what the model returns its tensors in; they are the outputs of the graph, in order.
        names: of dimensions, with the ranges that torch found.
    """

    program: torch.export.ExportedProgram
    result: Structure
    names: Names


def export(model: nn.Module, example: Example, names: Names | None = None) -> Exported:
    """The inference graph of ``model`` with a free batch dimension, and free dimensions with ``names``.

    Raises:
        UnsupportedError: torch.export cannot capture it, or it returns something else than tensors.
    """
    with _LOCKS["export"]:
        twin = _twin(model)
        if twin is not None:
            found = _exported(twin, example, names)
            if not _reads_the_original(found.program, model):
                return found
        return _exported_itself(model, example, names)


def _exported(model: nn.Module, example: Example, names: Names | None) -> Exported:
    names = names or Names.of(None, example.inputs, example.tensors)
    tensors = tuple(x.clone() if len(x) > 1 else torch.cat([x, x]) for x in example.tensors)
    shapes: Any = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]
    batch = torch.export.Dim(BATCH, min=1)
    for place, tensor in enumerate(tensors):
        shapes[tensor] = {0: batch} | names.spec(place)
    flat = _Flat(model, example)
    try:
        with _quiet(), answered(), flat:
            program = torch.export.export(model, tensors, dynamic_shapes=shapes, strict=False)
            _inline(program.graph_module)
    except MemoryError:
        raise
    except Exception as error:  # torch.export raises many types, some of them private
        raise UnsupportedError(_capture_failure(error, model, example, names)) from error
    return Exported(program, flat.structure(), names)


class _Flat:
    """While it is entered, ``model.forward`` takes the example's tensors one by one, and returns tensors alone.

    torch.export itself takes and returns only structures that it was told of.
    """

    def __init__(self, model: nn.Module, example: Example) -> None:
        self.model, self.example, self.result = model, example, None
        self.own, self.forward = vars(model).get("forward"), model.forward

    def __enter__(self) -> None:
        vars(self.model)["forward"] = self._flat

    def __exit__(self, *_: object) -> None:
        del vars(self.model)["forward"]
        if self.own is not None:
            vars(self.model)["forward"] = self.own

    def _flat(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        args, kwargs = self.example.arguments(tensors)
        self.result = self.forward(*args, **kwargs)
        return tuple(leaf for _, leaf in leaves(self.result) if isinstance(leaf, Tensor))

    def structure(self) -> Structure:
        """What the model returned its tensors in.

        Raises:
            UnsupportedError: no tensor, or something that is neither a tensor nor the same for every input.
        """
        found = [(dotted(path) or "output", leaf) for path, leaf in leaves(self.result)]
        for name, leaf in found:
            if not isinstance(leaf, (Tensor, *PLAIN)):
                size = isinstance(leaf, torch.SymInt)
                what = "a size of its input" if size else f"an object of type {type(leaf).__name__}"
                raise UnsupportedError(f"the model returns {what} ({name}): return it outside of the prepared part")
        if not any(isinstance(leaf, Tensor) for _, leaf in found):
            raise UnsupportedError("the model returns no tensor")
        return Structure.of(self.result)


def _inline(module: fx.GraphModule) -> None:
    """Put what ``torch.no_grad()`` and autocast enclose into the graph around them, operator by operator."""
    for call in list(module.graph.nodes):
        place = _region(call)
        if place is None:
            continue
        inner = getattr(module, call.args[place].target)
        _inline(inner)
        takes = [n for n in inner.graph.nodes if n.op == "placeholder"]
        with module.graph.inserting_before(call):
            known = dict(zip(takes, call.args[place + 1 :], strict=True))
            results: Any = module.graph.graph_copy(inner.graph, known)
        for user in list(call.users):  # one part of the result each
            result = results[user.args[1]]
            result.meta["val"] = user.meta["val"]  # inside, a cast that does nothing may have lost the batch's symbol
            user.replace_all_uses_with(result)
            module.graph.erase_node(user)
        module.graph.erase_node(call)


def _region(call: fx.Node) -> int | None:
    """Which argument is the graph of a region that computes the same without its borders; ``None``: no such region."""
    if getattr(call.target, "__name__", "") not in REGIONS:
        return None
    graphs = (isinstance(a, fx.Node) and a.op == "get_attr" for a in call.args)
    return next((place for place, graph in enumerate(graphs) if graph), None)


def _exported_itself(model: nn.Module, example: Example, names: Names | None) -> Exported:
    """For a model that has no copy of its own: functions that refer to its modules from outside, or that cannot be."""
    training = [(module, module.training) for module in model.modules()]
    try:
        return _exported(model.eval(), example, names)
    finally:
        for module, mode in training:
            module.training = mode


# the copy


def _twin(model: nn.Module) -> nn.Module | None:
    """A copy in evaluation mode with modules of its own and the tensors of ``model``; ``None``: it cannot be copied."""
    memo: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    for module in model.modules():
        shared = [value for value in vars(module).values() if not isinstance(value, COPIED)]
        hooks = [hook for kind in HOOKS for hook in vars(module).get(kind, {}).values()]
        memo |= {id(value): value for value in (*shared, *hooks)}
    try:
        twin = copy.deepcopy(model, memo)
    except Exception:  # user's modules may hold anything
        return None
    _without_hooks(twin)
    _without_wrappers(twin)
    _without_inference_tensors(twin)
    return twin.eval()


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _without_hooks(twin: nn.Module) -> None:
    """Leave out the hooks of users, and say so; those of libraries compute weights or outputs, and stay."""
    hooked = []
    for name, module in twin.named_modules():
        for kind in HOOKS:
            found = getattr(module, kind)
            own = [key for key, hook in found.items() if not is_a_part(hook)]
            hooked += [name or "the model itself"] * bool(own)
            for key in own:
                del found[key]
    if hooked:
        text = (
            f"hooks of the float model (on {', '.join(dict.fromkeys(hooked))}) are not a part of the prepared network: "
            "register them on the modules of the network, net.get_submodule(name)"
        )
        warnings.warn(text, HookWarning, stacklevel=2)


def _without_wrappers(twin: nn.Module) -> None:
    for module in list(twin.modules()):
        vars(module)["_compiled_call_impl"] = None  # of Module.compile
        for name, child in module._modules.items():
            if child is not None and unwrapped(child) is not child:
                module._modules[name] = unwrapped(child)


def _without_inference_tensors(twin: nn.Module) -> None:
    """Tensors made under torch.inference_mode cannot be exported: copies of them can."""
    for module in twin.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.is_inference():
                module._parameters[name] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_inference():
                module._buffers[name] = buffer.clone()


def _reads_the_original(program: torch.export.ExportedProgram, model: nn.Module) -> bool:
    """Whether the copy computes with a module of the original, whose parameters then look like constants.

    Buffers that are not saved with a model are among the constants of a program, too, and are the copy's own.
    """
    places = {t.data_ptr() for t in (*model.parameters(), *model.buffers())} - {0}
    lifted = (program.constants[name] for name in program.graph_signature.lifted_tensor_constants)
    return any(isinstance(c, Tensor) and c.data_ptr() in places for c in lifted)


# what is printed, and what is said


@contextmanager
def _quiet() -> Iterator[None]:
    """What torch.export prints about a failure (its whole graph) is not shown: our error says it in a line."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(cast("TextIO", _Muted(sys.stderr))), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The tensor attributes? self.*assigned during export"
            )  # of nn.LSTM and others
            yield
    finally:
        logger.setLevel(before)


class _Muted(io.TextIOBase):
    """Standard error without what this thread writes to it."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream, self.thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        """Write what comes from other threads."""
        muted = threading.get_ident() == self.thread or self.stream is None
        return len(text) if muted or self.stream is None else self.stream.write(text)


def _where(error: BaseException) -> str:
    """The innermost line of the user's own that the export came through."""
    frames = traceback.extract_tb(error.__traceback__)
    foreign = re.compile(r"[/\\](torch|sympy)[/\\]|[/\\]contextlib\.py$|[/\\]functools\.py$")
    own = [f for f in frames if f.filename != __file__ and not foreign.search(f.filename)]
    return f" At {own[-1].filename}:{own[-1].lineno}: `{own[-1].line}`" if own and own[-1].line else ""


def _capture_failure(error: Exception, model: nn.Module, example: Example, names: Names) -> str:
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0][:300] + _where(error)
    if re.search(
        r"data-dependent|GuardOnDataDependent|DynamicControlFlow", f"{type(error).__name__} {text}", re.IGNORECASE
    ):
        return (
            f"the model's control flow depends on its data, so there is no one graph: {first} "
            "(move the condition out of forward, or prepare the part without it)"
        )
    shape = tuple(example.tensors[0].shape)
    if not _runs(model, example, example.tensors) and _runs(model, example, [x[None] for x in example.tensors]):
        return (
            f"example_inputs of shape {shape} have no batch dimension: the model takes {('N', *shape)}, "
            "so pass x[None], or a batch of samples"
        )
    given = [*example.call.form[0], None][0]
    if isinstance(given, dict | tuple | list) and not _runs(model, example, example.tensors):
        return f"{mismatch(model, given)}: {first}"
    named = names.said(text)
    if named:
        return named
    if re.search(r"batch|Constraints violated|specializ", text):
        return (
            f"the model does not accept every batch size: {_plain(first)} (use x.shape[0] or flatten(1), not a number; "
            f"the example's first dimension, {shape[0]}, is taken for the batch dimension: pass x[None] if it is not)"
        )
    return f"torch.export cannot capture the model: {first}"


def _plain(text: str) -> str:
    """Without torch's advice on its own settings."""
    return re.sub(r" ?For more information, run with TORCH_LOGS=\S+", "", text)


def _runs(model: nn.Module, example: Example, tensors: Sequence[Tensor]) -> bool:
    args, kwargs = example.arguments(tensors)
    try:
        with torch.no_grad():
            model(*args, **kwargs)
    except Exception:  # whatever the user's model raises
        return False
    return True
