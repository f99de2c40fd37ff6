"""Megabytes that ``pip install dqt`` takes without extras: the wheel, and each package that it asks for."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from bench.common import Check, parser, write
from dqt.testing.installed import asked_for

ROOT = Path(__file__).parent.parent
MOST = 400.0
"""Megabytes: a machine that only runs programs carries no torch, which alone is larger."""


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--wheel", type=Path, help="of dqt; default: made anew")
    given = options.parse_args().wheel
    with tempfile.TemporaryDirectory() as folder:
        wheel = given or built(Path(folder))
        results = sizes(wheel)
    total = sum(each["bytes"] for each in results["packages"].values())
    checks = [Check("pip install dqt without extras, MB", total / 1e6, "<=", MOST)]
    write("install", settings={"wheel": wheel.name}, results=results, checks=checks)


def built(folder: Path) -> Path:
    """A wheel of this checkout, made in the build folder of this environment."""
    words = ("wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *words], check=True)
    return next(folder.glob("dqt-*.whl"))


def sizes(wheel: Path) -> dict[str, Any]:
    """Bytes of the wheel's file, and by package of what is installed; bytecode that Python makes is left out."""
    with zipfile.ZipFile(wheel) as archive:
        unpacked = sum(each.file_size for each in archive.infolist())
    packages: dict[str, dict[str, Any]] = {"dqt": {"bytes": unpacked}}
    for found in asked_for(wheel):
        files = [Path(str(found.locate_file(path))) for path in found.files or () if path.suffix != ".pyc"]
        size = sum(path.stat().st_size for path in files if path.exists())
        packages[found.metadata["Name"].lower()] = {"version": found.version, "bytes": size}
    return {"wheel_bytes": wheel.stat().st_size, "packages": packages}


if __name__ == "__main__":
    main()
