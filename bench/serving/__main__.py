"""Run parts by name; all of them by default."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import serving
from bench.common import parser, write
from bench.serving import auto, avx2, layers, memory, plans, ranges, threads, widths
from bench.serving.common import Setting
from dqt.runtime.bench import pinned

PARTS = {
    each.__name__.rpartition(".")[2]: each.measure
    for each in (threads, plans, auto, memory, avx2, layers, widths, ranges)
}
CORES = {"threads": 2}


def main() -> None:
    """Measure, print, write."""
    options = parser(serving.__doc__)
    options.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    options.add_argument("--folder", type=Path, help="where the networks are kept; made anew without")
    options.add_argument("--weights", type=Path, help="float weights of ResNet-20; random without")
    options.add_argument("--seconds", type=float, default=10.0, help="of each comparison")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        setting = Setting(arguments.folder or Path(temporary), arguments.weights, arguments.seconds)
        for name in arguments.parts or PARTS:
            with pinned(CORES.get(name, 1)):
                results, checks = PARTS[name](setting)
            write(f"serving_{name}", settings={"seconds": arguments.seconds}, results=results, checks=checks)


if __name__ == "__main__":
    main()
