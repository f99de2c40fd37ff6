"""Dynamic quantization training on nested integers: one network, every bit width, integer arithmetic only.

The names below are loaded when they are first used, so that ``import dqt`` costs nothing and a machine that only
runs programs needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dqt._version import __version__

if TYPE_CHECKING:
    from dqt.arith.cascade import Cascade
    from dqt.arith.errors import InputRangeWarning
    from dqt.arith.plan import Plan, PlanError, load_plan
    from dqt.lower.emit import lower
    from dqt.nn.calibrate import calibrate
    from dqt.nn.config import Config, Controller
    from dqt.nn.diagnosis import Diagnosis
    from dqt.nn.doctor import doctor
    from dqt.nn.errors import CalibrationWarning, HookWarning, TieWarning, UnsupportedError
    from dqt.nn.prepare import prepare
    from dqt.program.cascade import calibrate_cascade
    from dqt.program.cost import cost
    from dqt.program.interpret import InputError, interpret
    from dqt.program.pack import upgrade
    from dqt.program.program import Program, ProgramError
    from dqt.program.task import Task
    from dqt.runtime.runtime import Runtime, RuntimeUnavailableError
    from dqt.shipped import example
    from dqt.train.fit import fit
    from dqt.train.loss import objective
    from dqt.train.recipe import Recipe
    from dqt.train.search import search

__all__ = [
    "CalibrationWarning",
    "Cascade",
    "Config",
    "Controller",
    "Diagnosis",
    "HookWarning",
    "InputError",
    "InputRangeWarning",
    "Plan",
    "PlanError",
    "Program",
    "ProgramError",
    "Recipe",
    "Runtime",
    "RuntimeUnavailableError",
    "Task",
    "TieWarning",
    "UnsupportedError",
    "__version__",
    "calibrate",
    "calibrate_cascade",
    "cost",
    "doctor",
    "example",
    "fit",
    "interpret",
    "load_plan",
    "lower",
    "objective",
    "prepare",
    "search",
    "upgrade",
]

_HOME = {
    "CalibrationWarning": "dqt.nn.errors",
    "Cascade": "dqt.arith.cascade",
    "Config": "dqt.nn.config",
    "Controller": "dqt.nn.config",
    "Diagnosis": "dqt.nn.diagnosis",
    "HookWarning": "dqt.nn.errors",
    "InputError": "dqt.program.interpret",
    "InputRangeWarning": "dqt.arith.errors",
    "Plan": "dqt.arith.plan",
    "PlanError": "dqt.arith.plan",
    "Program": "dqt.program.program",
    "ProgramError": "dqt.program.program",
    "Recipe": "dqt.train.recipe",
    "Runtime": "dqt.runtime.runtime",
    "RuntimeUnavailableError": "dqt.runtime.runtime",
    "TieWarning": "dqt.nn.errors",
    "Task": "dqt.program.task",
    "UnsupportedError": "dqt.nn.errors",
    "calibrate": "dqt.nn.calibrate",
    "calibrate_cascade": "dqt.program.cascade",
    "cost": "dqt.program.cost",
    "doctor": "dqt.nn.doctor",
    "example": "dqt.shipped",
    "fit": "dqt.train.fit",
    "interpret": "dqt.program.interpret",
    "load_plan": "dqt.arith.plan",
    "objective": "dqt.train.loss",
    "prepare": "dqt.nn.prepare",
    "search": "dqt.train.search",
    "upgrade": "dqt.program.pack",
}

ROOMS = ("export", "lower", "testing")
"""Packages that are public by their own name; ``dqt.lower`` is callable, too: see dqt/lower/__init__.py."""

_EXTRA = {
    "lightning_fabric": "train",
    "matplotlib": "report",
    "onnx": "export",
    "sklearn": "train",
    "tensorboard": "train",
    "torch": "train",
}
"""Optional library -> the extra that installs it."""


def _resolve(name: str) -> Any:
    """The public name ``name``, imported now (PEP 562).

    Raises:
        AttributeError: no such name.
        ImportError: the name needs a library that is not installed; says which extra brings it.
    """
    if name in ROOMS:
        return import_module(f"dqt.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'dqt' has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        raise _explained(name, error) from error
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # a checker sees the imports above, and so still finds a misspelt name
    __getattr__ = _resolve


def __dir__() -> list[str]:
    return sorted(__all__)


def needs(error: BaseException) -> str | None:
    """What to install where ``error`` is about an optional library: its name and the command; None for other errors."""
    library = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or library not in _EXTRA:
        return None
    return f'{library}, which is not installed: pip install "dqt[{_EXTRA[library]}]"'


def _explained(name: str, error: ModuleNotFoundError) -> ImportError:
    missing = needs(error)
    return error if missing is None else ImportError(f"dqt.{name} needs {missing}", name=error.name)
