"""Hooks on modules of a prepared network: who runs them, and who cannot."""

from __future__ import annotations

import types
import warnings
from typing import Any, NoReturn

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from dqt.arith.errors import InputError
from dqt.nn.errors import HookWarning

KINDS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_hooked(module: nn.Module) -> bool:
    """Whether a call of ``module`` does more than its forward."""
    own = any(getattr(module, kind) for kind in KINDS)
    return own or bool(torch_module._has_any_global_hook())  # type: ignore[no-untyped-call]


def is_torchs(hook: Any) -> bool:
    """Whether a hook is one of torch's own, which compute weights: pruning, and weight norm of the older kind."""
    return _home(hook).startswith("torch.")


def is_a_part(hook: Any) -> bool:
    """Whether a hook belongs to the model's forward: torch's, and those with which transformers collects outputs."""
    return _home(hook).startswith(("torch.", "transformers."))


def _home(hook: Any) -> str:
    """The module that a hook was written in."""
    inner = getattr(hook, "__self__", hook)
    named = inner if hasattr(inner, "__module__") and isinstance(inner, types.FunctionType) else type(inner)
    return str(getattr(named, "__module__", ""))


@torch.no_grad()
def compute_weights(net: nn.Module) -> None:
    """Let the hooks of torch compute the weights of their layers anew, as a call of these would in evaluation."""
    for module in net.modules():
        own = [hook for hook in module._forward_pre_hooks.values() if is_torchs(hook)]
        training, module.training = module.training, bool(module.training and not own)
        for hook in own:
            hook(module, ())
        module.training = training


def warn_unheard(net: nn.Module) -> None:
    """Warn of hooks on layers and norms where a run is about to call none of these: an exact one, on integers."""
    for name, module in net.named_modules():
        if name and any(not is_torchs(hook) for kind in KINDS for hook in getattr(module, kind).values()):
            text = f"the hooks on {name} do not run in an exact pass, which computes integers: call without exact=True"
            warnings.warn(text, HookWarning, stacklevel=2)
            return


class Uncalled(nn.Module):
    """A module that holds others, or numbers, and that the network never calls: a hook on it would never run."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise InputError(
            "a prepared network calls its layers and norms, not the modules that hold them: register the hook on "
            "net.get_submodule(name) for a name in net.layers, or on a batch norm"
        )

    register_forward_hook = register_forward_pre_hook = _refuse
    register_full_backward_hook = register_full_backward_pre_hook = register_backward_hook = _refuse
