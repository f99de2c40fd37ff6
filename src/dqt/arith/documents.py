"""The JSON documents of plans and cascades: an object that names its format and version."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from dqt.arith.errors import PlanError

PLAN, CASCADE = "dqt-plan", "dqt-cascade"
NOUN = {PLAN: "plan", CASCADE: "cascade"}
VERSION = 1
Held = TypeVar("Held")


def written(kind: str, **entries: Any) -> str:
    """The text of a document of the format ``kind``."""
    return json.dumps({"format": kind, "version": VERSION, **entries}, indent=2) + "\n"


def document(text: str, kind: str) -> dict[str, Any]:
    """The JSON object in ``text``, which is of the format ``kind`` and of this version.

    Raises:
        PlanError: not JSON, or another format or version.
    """
    name = NOUN[kind]
    data = parsed(text, f"a {name}")
    found = data.get("format") if isinstance(data, dict) else None
    if isinstance(found, str) and found in NOUN and found != kind:
        other = NOUN[found]
        raise PlanError(f"a {other}, not a {name}: load it with dqt.{other.title()}.load, or either with dqt.load_plan")
    if not isinstance(data, dict) or found != kind:
        raise PlanError(f'not a {name}: expected a JSON object with "format": "{kind}"')
    version = data.get("version")
    if version != VERSION or isinstance(version, bool):
        raise PlanError(f"{name} version {version!r}; this release reads version {VERSION}")
    return data


def parsed(text: str, what: str) -> Any:
    """The JSON value in ``text``, where no key stands twice.

    Raises:
        PlanError: not JSON; the message calls it ``what``.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError(f"{what} must be JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise PlanError(f"{key!r} stands twice in one JSON object: keep one")
        result[key] = value
    return result


def read_document(path: str | os.PathLike[str], parse: Callable[[str], Held]) -> Held:
    """What ``parse`` makes of the text of a file; its error names the file."""
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise PlanError(f"{path}: not a text file") from None
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None
