"""What a wheel asks for, as this environment has it; needs the package ``packaging``."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def asked_for(wheel: Path) -> Iterator[Distribution]:
    """The distributions that a wheel needs without extras, and those that these need."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        open_ = re.findall(r"^Requires-Dist: (.*)$", archive.read(name).decode(), re.MULTILINE)
    seen: set[str] = set()
    while open_:
        requirement = Requirement(open_.pop())
        if requirement.name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(requirement.name)
        yield (found := distribution(requirement.name))
        open_ += found.requires or []
