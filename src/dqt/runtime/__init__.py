"""The native engine: the same integers as :func:`dqt.interpret`, fast."""

from dqt.runtime.runtime import Runtime as Runtime
from dqt.runtime.runtime import RuntimeUnavailableError as RuntimeUnavailableError
