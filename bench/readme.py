"""Put the committed numbers on the front page: its table and its picture. Runs nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.cifar10_ptq import REPORT
from bench.common import RESULTS

ROOT = Path(__file__).parent.parent
README, PICTURE = ROOT / "README.md", ROOT / "docs" / "images" / "cifar10-ptq.png"
BLOCK = re.compile(r"(?<=<!-- cifar10_ptq -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrite the block of the README, draw the picture."""
    from dqt.report.plots import save_picture
    from dqt.report.results import load_results

    README.write_text(BLOCK.sub(lambda _: table(), README.read_text()))
    PICTURE.parent.mkdir(exist_ok=True)
    save_picture(load_results(RESULTS / REPORT), PICTURE)


def table() -> str:
    """The results of ``bench/cifar10_ptq.py`` as Markdown, with where they were measured."""
    document = json.loads((RESULTS / "cifar10_ptq.json").read_text())
    results = document["results"]
    rows = results["widths"]
    lines = [
        "| bits | " + " | ".join(["float", *rows]) + " |",
        "|---|" + "---:|" * (len(rows) + 1),
        line("top-1, %", [f"{results['float_top1']:.2f}"], [f"{row['top1_integer']:.2f}" for row in rows.values()]),
        line("BitOPs, % of 8 bits", [""], [f"{100 * row['share']:.1f}" for row in rows.values()]),
    ]
    if "other_calibration_sets" in results:
        lines.insert(3, line("other calibration sets", [""], [between(results, b) for b in rows]))
    return "\n".join(lines) + "\n\n" + where(document) + "\n"


def line(name: str, first: list[str], cells: list[str]) -> str:
    """One row."""
    return "| " + " | ".join([name, *first, *cells]) + " |"


def between(results: dict[str, Any], b: str) -> str:
    """The range of top-1 over the other calibration sets, in hundredths of a percent."""
    found = [each["top1_integer"][b] for each in results["other_calibration_sets"]]
    return f"{min(found):.2f} to {max(found):.2f}" if min(found) < max(found) else f"{found[0]:.2f}"


def where(document: dict[str, Any]) -> str:
    """What was measured, on what."""
    results, settings, machine = (document[name] for name in ("results", "settings", "machine"))
    rows = results["widths"].values()
    slowest = max(row["interpret_seconds"] for row in rows)
    processor = machine["processor"].split(" (")[0]
    agreement = min(row["top1_agreement"] for row in rows)
    sets = len(results.get("other_calibration_sets", ()))
    other = f"Second row: {sets} other sets of training images. " if sets else ""
    return (
        f"All {settings['test_images']:,} test images, integers from the input to the logits; one file of "
        f"{results['program_bytes'] / 1000:.0f} kB for every column. Calibrated on {settings['calibration_images']} "
        f"training images in {results['calibration_seconds']:.0f} s; the test set at one width takes the interpreter "
        f"{slowest:.0f} s at most ({machine['cores']} cores of {processor}, {machine['date']}). {other}The "
        "differentiable network gives the "
        f"same class on {agreement:.2f} % or more at every width, its exact form the same bits."
    )


if __name__ == "__main__":
    main()
