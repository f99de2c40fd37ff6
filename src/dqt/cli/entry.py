"""The way in: Ctrl-C and closed streams are handled before anything slow is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dqt.cli.stop import INTERRUPTED, end_soon, interruptible


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; arguments and exit code as :func:`dqt.cli.app.main`.

    Without arguments it is the console script, whose process ends with it.
    """
    _open_streams()
    with interruptible(last=arguments is None) as interrupt:
        try:
            from dqt.cli.app import main as run

            code = run(arguments, stopped=lambda: interrupt.hit)
        except BaseException as error:
            if not interrupt.hit and not isinstance(error, KeyboardInterrupt):
                raise
            print("dqt: interrupted", file=sys.stderr)
            code = INTERRUPTED
        code = _flushed(code)
    if code == INTERRUPTED and arguments is None:
        end_soon()
    return code


def _open_streams() -> None:
    """Python has None for a stream that was closed before it started (``dqt inspect net.dqt >&-``)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - open until the end


def _flushed(code: int) -> int:
    """``code``, once everything is written; what can no longer be written must not fail again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError) and code == 0:
            print(f"dqt: standard output: {error.strerror}", file=sys.stderr)
        return code or 1
    return code
