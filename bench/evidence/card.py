"""The model card of the example that ships, from the records of its two runs: ``python -m bench.evidence.card``."""

from __future__ import annotations

from pathlib import Path

from bench.evidence import records
from bench.evidence.records import Record
from bench.evidence.targets import AT_3_BITS, BASE, SHIPPED_SEED

CARD = Path("docs/model-card.md")


def shipped(folder: Path = records.FOLDER) -> tuple[Record, Record]:
    """The records of the network and of the controller that was trained for it."""
    names = ((BASE, SHIPPED_SEED), (AT_3_BITS, 0))
    network, controller = (records.load(records.path_of(name, seed, folder)) for name, seed in names)
    return network, controller


def card(network: Record, controller: Record) -> str:
    """The page, in Markdown."""
    recipe = network.recipe["recipe"]
    points = {b: controller.uniform(b) for b in controller.recipe["network"]["widths"]}
    found = [(str(b), point) for b, point in sorted(points.items(), reverse=True) if point is not None]
    found += [("auto", point) for point in controller.of("auto")]
    rows = "\n".join(f"| {label} | {100 * each.accuracy:.2f} | {100 * each.share:.1f} |" for label, each in found)
    images, own = network.images, controller.controller
    assert own is not None
    return f"""# The example model

`dqt.example()` is the path of a ResNet-20 for CIFAR-10 that runs at every width from 8 down to 2 bits, and chooses one
for each picture with `auto`: {controller.program_bytes:,} bytes for all of it.

    dqt eval $(python -c "import dqt; print(dqt.example())") cifar10=FOLDER

| bits | top-1 on the {images["test"]:,} test images, % | BitOPs, % of 8 bits |
|---:|---:|---:|
{rows}

Integers from the input to the logits; the first and the last layer stay at 8 bits. One run, seed {network.seed}.

- **Data**: CIFAR-10, {images["train"]:,} training images; {images["held_out"]:,} more were held out, and the checkpoint
  with the best mean accuracy on them ships.
- **Weights it began with**: a float ResNet-20 with 91.73 % (akamaster/pytorch_resnet_cifar10, BSD-2-Clause). They were
  trained on all 50,000 images, so the held-out ones were not new to them.
- **Recipe**: [{BASE}.toml](../bench/evidence/recipes/{BASE}.toml): {recipe["epochs"]} epochs, SGD {recipe["lr"]},
  three passes a step, each taught by a float ResNet-56 of the same origin, from where as many epochs of the same kind
  had ended. It was made after four other recipes had been judged on the test set ([results](results.md)), so these
  figures are not free of such choices.
- **Controller**: [{AT_3_BITS}.toml](../bench/evidence/recipes/{AT_3_BITS}.toml), trained afterwards for about the
  BitOPs of 3 bits; {own.parameters:,} parameters, {100 * own.parameters / own.model_weights:.2f} % of the network's
  weights. It knows little of a picture's difficulty: a cascade (`dqt.Cascade`) does better at the same cost, as the
  results show.
- **Input**: 32x32 RGB in [0, 1], less (0.485, 0.456, 0.406), by (0.229, 0.224, 0.225); `dqt run` does it for pictures.
- **Limits**: ten classes of small pictures, of which it always answers one. It is there for trying dqt, not for
  decisions about anything.
"""


def main() -> None:
    CARD.write_text(card(*shipped()))
    print(f"wrote {CARD}")


if __name__ == "__main__":
    main()
