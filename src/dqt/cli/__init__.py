"""The command line: one file a verb; each parses, calls the library, prints. ``dqt.cli:main`` is the console script."""

from dqt.cli.entry import main

__all__ = ["main"]
