"""What the site adds to docs/: the documents of the repository's root, and the reference of every public name.

Links between documents become links between pages. A link to a file that is no page, such as a record or a source file,
becomes the file's name: the site has no copy of it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "bench/README.md": "measurements.md",
}
"""Document of the repository -> page of the site."""
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
IMAGE = re.compile(r"(!\[[^\]]*\]\()(docs/)([^)\s]+\))")
INTRODUCTION = """# Python

Every public name, with its docstring. Shapes are `[N, C, H, W]`; equations are those of [the arithmetic](numerics.md).
"""
ROOMS = {"export": "Export", "testing": "Testing"}
"""Packages whose names are public, too."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that do not lie in docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "reference.md", content=reference()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with links that lead to pages."""
    place = page.file.src_uri
    source = next((name for name, made in PAGES.items() if made == place), f"docs/{place}")
    text = IMAGE.sub(r"\1\3", markdown) if not source.startswith("docs/") else markdown
    return LINK.sub(lambda match: _link(match, source, place), text)


def _link(match: re.Match[str], source: str, place: str) -> str:
    """A link of the document ``source`` as the page ``place`` has it."""
    words, target = match.groups()
    path, mark, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return match[0]
    document = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if document in PAGES:
        page = PAGES[document]
    elif document.startswith("docs/"):
        page = document.removeprefix("docs/")
    else:
        return words if words.strip("`") == document else f"{words} (`{document}`)"
    return f"[{words}]({posixpath.relpath(page, posixpath.dirname(place) or '.')}{mark}{anchor})"


def reference() -> str:
    """A page with the docstring of every public name."""
    import dqt

    parts = [INTRODUCTION]
    homes = {name: getattr(dqt, name).__module__ for name in dqt.__all__ if not name.startswith("_")}
    homes["lower"] = "dqt.lower.emit"  # the callable package's own function
    parts += [f"::: {home}.{name}\n" for name, home in sorted(homes.items(), key=lambda item: item[0].lower())]
    for room, title in ROOMS.items():
        module = getattr(dqt, room)
        homes = {name: getattr(getattr(module, name), "__module__", "") for name in dir(module)}
        names = [name for name, home in homes.items() if str(home).startswith("dqt.") and not name.startswith("_")]
        parts.append(f"## {title}\n\n`dqt.{room}`\n")
        parts += [f"::: {homes[name]}.{name}\n" for name in sorted(names, key=str.lower)]
    return "\n".join(parts)
