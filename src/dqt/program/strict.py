"""JSON, read strictly: no repeated key, no NaN, no deep nesting."""

from __future__ import annotations

import json
from typing import Any

from dqt.program.errors import ProgramError


def parse(text: bytes | str, where: str) -> Any:
    """The value of a JSON text.

    Raises:
        ProgramError: it is none, or nothing that a file may hold; ``where`` names the text.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ProgramError(f"{where}: nested too deeply") from None
    except ProgramError:
        raise
    except ValueError as error:
        raise ProgramError(f"{where}: not JSON ({short(error)})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ProgramError("a JSON object repeats a key")
    return result


def _refuse(name: str) -> None:
    raise ProgramError(f"{name} is not a number of this format")


def short(error: BaseException) -> str:
    """The first line of what an error says."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
