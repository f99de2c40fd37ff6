"""Errors that every room raises: inputs and plans that do not fit; and the warning for an input that is clipped."""

from __future__ import annotations


class InputError(ValueError):
    """An input that a network or a program cannot take; the message says what it got, and what it needs."""


class InputRangeWarning(UserWarning):
    """A sample lies far outside of the range that a program was calibrated with: most of it is clipped."""


class PlanError(ValueError):
    """A plan that does not fit its network; the message names the layer, the value and the allowed set."""


class TaskError(ValueError):
    """A task that is not known, does not fit its network, or whose functions give what cannot be used."""
