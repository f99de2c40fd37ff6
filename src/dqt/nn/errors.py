"""Errors of preparing and running a network."""

from __future__ import annotations


class UnsupportedError(ValueError):
    """A model, or a part of it, that cannot become an integer program; says which operator, where, and what to do."""


class HookWarning(UserWarning):
    """Hooks that will not run, or are not part of the prepared network; says which, and where to register them."""


class CalibrationError(ValueError):
    """Ranges that are missing, or data that cannot give them."""


class CalibrationWarning(UserWarning):
    """Something in the calibration data or in the model that will serve badly; says what, where, and what to do."""
