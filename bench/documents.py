"""Write the numbers of every document from the records, between its marks: runs no measurement.

python -m bench.documents             write them, and the pictures
python -m bench.documents --check     say which documents differ from the records; 1 if any does
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench.markdown import block, filled
from bench.pages import (
    calibration,
    card,
    experiments,
    install,
    kernels,
    models,
    onnx,
    packing,
    readme,
    results,
    sentences,
    tiny,
    training,
    untrained,
)
from dqt.arith.files import write_file

ROOT = Path(__file__).parent.parent
BLOCKS: dict[str, Callable[[], dict[str, str]]] = {
    "README.md": readme.blocks,
    "docs/kernels.md": kernels.blocks,
    "docs/results.md": lambda: {**results.blocks(), **untrained.blocks(), **sentences.blocks()},
    "docs/experiments.md": experiments.blocks,
    "docs/model-card.md": card.blocks,
    "docs/guide/export.md": onnx.blocks,
    "docs/guide/fit.md": training.blocks,
    "docs/guide/post-training.md": calibration.blocks,
    "docs/guide/install.md": install.blocks,
    "docs/guide/microcontroller.md": tiny.blocks,
    "docs/models.md": models.blocks,
    "docs/guide/packed-files.md": packing.blocks,
}
"""Document -> what makes its blocks."""


def main() -> int:
    """Write, or compare; 1 where a document differs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="write nothing")
    check = options.parse_args().check
    stale = [name for name in BLOCKS if (ROOT / name).read_text() != made(name)]
    if check:
        print("\n".join(f"{name}: differs from its records; run python -m bench.documents" for name in stale))
        return int(bool(stale))
    for name in stale:
        write_file(ROOT / name, made(name))
        print(f"wrote {name}")
    readme.draw()
    results.draw(ROOT / "docs")
    return 0


def made(name: str) -> str:
    """A document with its blocks as the records have them."""
    page = (ROOT / name).read_text()
    for mark, content in BLOCKS[name]().items():
        if not block(mark).search(page):
            raise ValueError(f"{name}: has no <!-- {mark} --> ... <!-- end -->")
        page = filled(page, mark, content)
    return page


if __name__ == "__main__":
    sys.exit(main())
