"""The model card of the example that ships, from the record of its run: ``python -m bench.evidence.card``."""

from __future__ import annotations

from pathlib import Path

from bench.evidence import records
from bench.evidence.records import Record

SHIPPED = "any-width-float"
CARD = Path("docs/model-card.md")


def card(record: Record) -> str:
    """The page, in Markdown."""
    recipe = record.recipe["recipe"]
    points = {b: record.uniform(b) for b in record.recipe["network"]["widths"]}
    found = {b: point for b, point in points.items() if point is not None}
    rows = "\n".join(
        f"| {b} | {100 * found[b].accuracy:.2f} | {100 * found[b].share:.1f} |" for b in sorted(found, reverse=True)
    )
    images = record.images
    return f"""# The example model

`dqt.example()` is the path of a ResNet-20 for CIFAR-10 that runs at every width from 8 down to 2 bits:
{record.program_bytes:,} bytes for all of them.

    dqt eval $(python -c "import dqt; print(dqt.example())") cifar10=FOLDER

| bits | top-1 on the {images["test"]:,} test images, % | BitOPs, % of 8 bits |
|---:|---:|---:|
{rows}

Integers from the input to the logits; the first and the last layer stay at 8 bits. One run, seed {record.seed}.

- **Data**: CIFAR-10, {images["train"]:,} training images; {images["held_out"]:,} more were held out. The last$
  checkpoint is the one that ships.
- **Weights it began with**: a float ResNet-20 with 91.73 % (akamaster/pytorch_resnet_cifar10, BSD-2-Clause). They were
  trained on all 50,000 images, so the held-out ones were not new to them.
- **Recipe**: [{SHIPPED}.toml](../bench/evidence/recipes/{SHIPPED}.toml): {recipe["epochs"]} epochs, SGD {recipe["lr"]},
  three passes a step, each taught by the float network. It was made after another recipe had been judged on the test
  set ([results](results.md)), and the norms' statistics were taken from augmented images after plain ones had been seen
  to cost 2.7 points there; so these figures are not free of such choices.
- **Input**: 32x32 RGB in [0, 1], less (0.485, 0.456, 0.406), by (0.229, 0.224, 0.225); `dqt run` does it for pictures.
- **Limits**: ten classes of small pictures, of which it always answers one. It has no controller. It is there for
  trying dqt, not for decisions about anything.
"""


def main() -> None:
    record = records.load(records.path_of(SHIPPED, 0))
    CARD.write_text(card(record))
    print(f"wrote {CARD}")


if __name__ == "__main__":
    main()
