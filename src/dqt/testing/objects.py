"""C compiled file by file, each only once in a process: exported programs differ in one file and share all others."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def objects(sources: Iterable[Path], folder: Path, command: Sequence[str], *places: Path) -> list[Path]:
    """Compile each of ``sources`` to an object in ``folder``.

    Args:
        command: the compiler and its options.
        places: folders of the headers, beside that of the source.

    Raises:
        RuntimeError: the compiler fails; with what it printed.
    """
    made = []
    for source in sources:
        text = source.read_text()
        headers: dict[str, str] = {}
        _collect(text, (source.parent, *places), headers)
        made.append(folder / f"{source.stem}.o")
        made[-1].write_bytes(_compiled(tuple(command), source.name, text, tuple(headers.items())))
    return made


def called(*command: Any, folder: Path | None = None) -> str:
    """What a command prints.

    Raises:
        RuntimeError: it fails; with what it printed.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
    return done.stdout


def _collect(text: str, places: Sequence[Path], found: dict[str, str]) -> None:
    """Every header that a text includes by quotes, and what those include."""
    for name in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
        if name not in found:
            found[name] = next(place / name for place in places if (place / name).exists()).read_text()
            _collect(found[name], places, found)


@lru_cache(maxsize=128)
def _compiled(command: tuple[str, ...], name: str, text: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    with TemporaryDirectory() as place:
        for file, content in ((name, text), *headers):
            Path(place, file).write_text(content)
        called(*command, "-c", name, "-o", "out.o", folder=Path(place))
        return Path(place, "out.o").read_bytes()
