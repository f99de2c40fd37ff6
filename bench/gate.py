"""Whether lower slices of weights need be read, decided by layer and sample: studied before an operator is built.

A product of one row reads its weights slice by slice: the upper b bits, then, if need be, the rest. What the rest would
add is ``D x``, D the difference of the 8-bit weights and those of b bits. A gate reads the rest where a bound on it is
large beside what has been computed: ``sum_c w_c x_c^2 > t * |W_b x|^2``, with ``w_c = sum_j D_jc^2``, integers known
when the program is made, and x_c the layer's integer inputs. That is the expectation of ``|D x|^2`` for signs at
random. Here a network of linear layers on Fashion-MNIST answers all test images under every combination of widths of
three layers, so that every gate is a look-up; thresholds are chosen on the held-out images. Beside it: the same
decisions dealt to other images, a gate that knows ``|D x|^2`` itself, and uniform widths.

    python -m bench.gate --data DIR
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import dqt
from bench.common import Check, parser, write
from bench.late import DEALS, SEEDS
from dqt.arith.plan import Plan
from dqt.program.layered import narrowed
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.train.data import DataSet, Splits, load

UNITS, GATED, FULL = 512, 3, 8
LOWS, PARTS = (2, 3, 4), (0.1, 0.25, 0.5)
"""Bits that are always read, and parts of the products that read the rest, too."""
HELD_OUT, CALIBRATED, TARGET = 5000, 256, 0.2
"""Points that a gate should gain over its own decisions dealt to other images."""
EPOCHS, ROWS = 6, 128
NESTED = dqt.Recipe(epochs=2, batch_size=ROWS, lr=0.02, distill=0.9, teacher="float", valid_every=2)
Floats = npt.NDArray[np.float64]
Reads = tuple[bool, ...]
"""By gated layer: whether the rest of its weights is read."""


def model() -> nn.Module:
    """Linear layers alone: the first and the last run at 8 bits."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(28 * 28, UNITS), nn.ReLU()]
    for _ in range(GATED):
        layers += [nn.Linear(UNITS, UNITS), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(UNITS, 10))


def programs(splits: Splits) -> dict[str, Program]:
    """The float model, and its widths without training and with it; from images that are not held out."""
    torch.manual_seed(0)
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    data, rng = splits.train, np.random.default_rng(0)
    for _ in range(EPOCHS):
        for index in np.array_split(rng.permutation(len(data)), len(data) // ROWS):
            x, y = data.batch(torch.from_numpy(index))
            loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    nested = dqt.prepare(net.eval(), data.inputs(slice(2)), dqt.Config(widths=(*LOWS, FULL), norm="shared"))
    dqt.calibrate(nested, [data.inputs(slice(CALIBRATED))])
    made = {"calibrated": dqt.lower(nested)}
    dqt.fit(nested, data, splits.valid, recipe=NESTED, teacher=net, progress=False)
    return made | {"trained": dqt.lower(nested)}


@dataclass(frozen=True, eq=False)
class Layer:
    """A gated layer: its weights at the low width and what the full ones differ by, ``[O, I]``; the value it reads."""

    name: str
    reads: str
    low: Floats
    rest: Floats

    def bound(self, x: Floats) -> Floats:
        """``sum_c w_c x_c^2`` over ``|W_b x|^2``, of integer inputs ``[N, I]``: what a gate compares."""
        return (x**2 @ (self.rest**2).sum(0)) / np.maximum(((x @ self.low.T) ** 2).sum(1), 1)

    def exact(self, x: Floats) -> Floats:
        """The same with ``|D x|^2`` itself."""
        return ((x @ self.rest.T) ** 2).sum(1) / np.maximum(((x @ self.low.T) ** 2).sum(1), 1)


class Answers:
    """A set of images under every combination: who is right, and what each gated layer reads, in integers."""

    def __init__(self, program: Program, b: int, data: DataSet) -> None:
        self.layers, self.labels = layers_of(program, b), data.labels.numpy()
        self.right: dict[Reads, Floats] = {}
        self.inputs: dict[Reads, Floats] = {}
        """By what the layers before it read: the integer inputs of the next gated layer."""
        steps = {value.name: value for value in program.values}
        shown = tuple(Dequantize(layer.reads, layer.name) for layer in self.layers)
        run = Runtime(replace(program, ops=program.ops + shown), threads=1)
        for reads in product((False, True), repeat=GATED):
            found = run(data.inputs().numpy(), plan_of(program, self.layers, b, reads))
            self.right[reads] = (found["output"].argmax(1) == self.labels).astype(np.float64)
            for i, layer in enumerate(self.layers):
                if reads[:i] not in self.inputs:
                    self.inputs[reads[:i]] = np.rint(found[layer.name] / np.float32(steps[layer.reads].scale)).astype(
                        float
                    )

    def gated(self, rule: str, thresholds: Floats) -> npt.NDArray[np.bool_]:
        """What every image reads, bool ``[N, layers]``, layer after layer, where ``rule`` exceeds a threshold."""
        made = np.zeros((len(self.labels), 0), dtype=bool)
        for layer, threshold in zip(self.layers, thresholds, strict=True):
            score = np.zeros(len(made))
            for before in product((False, True), repeat=made.shape[1]):
                mine = (made == before).all(1)
                score[mine] = getattr(layer, rule)(self.inputs[before][mine])
            made = np.concatenate([made, (score > threshold)[:, None]], 1)
        return made

    def thresholds(self, rule: str, part: float) -> Floats:
        """By layer, such that ``part`` of the images read the rest."""
        found: list[float] = []
        for i in range(GATED):
            made = self.gated(rule, np.array(found + [np.inf] * (GATED - i)))
            score = np.zeros(len(made))
            for before in product((False, True), repeat=i):
                mine = (made[:, :i] == before).all(1)
                score[mine] = getattr(self.layers[i], rule)(self.inputs[before][mine])
            found.append(float(np.quantile(score, 1 - part)))
        return np.array(found)

    def score(self, made: npt.NDArray[np.bool_]) -> float:
        """Top-1 in percent of what each image reads."""
        table = np.stack([self.right[reads] for reads in product((False, True), repeat=GATED)], 1)
        column = made @ (1 << np.arange(GATED)[::-1])
        return 100 * float(table[np.arange(len(made)), column].mean())


def layers_of(program: Program, b: int) -> list[Layer]:
    """The layers that a gate stands at, with their weights narrowed to ``b`` bits."""
    chosen, made = program.space.chosen, []
    for op in program.ops:
        if isinstance(op, Linear) and op.layer in chosen:
            low = narrowed(op.weight, program.space.master, b, nearest=op.nearest).astype(float)
            made.append(Layer(op.layer, op.x, low, op.weight.astype(float) - low))
    return made


def plan_of(program: Program, layers: list[Layer], b: int, reads: Reads) -> Plan:
    """Activations at 8 bits, and the weights of gated layers at ``b`` or, where the rest is read, at 8."""
    bits = {layer.name: FULL if read else b for layer, read in zip(layers, reads, strict=True)}
    return Plan.of({name: (bits.get(name, FULL), FULL) for name in program.space.names})


def rows_of(network: str, program: Program, b: int, splits: Splits) -> Iterator[dict[str, Any]]:
    """All that is said of gates over ``b`` bits, a row for each part that reads the rest."""
    assert splits.valid is not None
    held, tested = Answers(program, b, splits.valid), Answers(program, b, splits.test)
    none, every = (False,) * GATED, (True,) * GATED
    for part in PARTS:
        found: dict[str, Any] = {"network": network, "bits": b, "part": part}
        for rule in ("bound", "exact"):
            made = tested.gated(rule, held.thresholds(rule, part))
            found[rule] = round(tested.score(made), 3)
            found[f"{rule}, read"] = round(float(made.mean()), 4)
            deals = [
                [tested.score(rng.permutation(made)) for _ in range(DEALS)] for rng in map(np.random.default_rng, SEEDS)
            ]
            found[f"{rule}, dealt"] = [round(mean(each), 3) for each in deals]
        low, full = (100 * float(tested.right[reads].mean()) for reads in (none, every))
        some = np.stack(list(tested.right.values()))
        found |= {"low": round(low, 2), "full": round(full, 2), "oracle": round(100 * float(some.max(0).mean()), 2)}
        yield found


def named(each: dict[str, Any]) -> str:
    """What a row is held against."""
    where = f"{each['network']}, {each['bits']} bits, the rest read {each['part']:g} of the times"
    return f"{where}: points over the same decisions dealt"


def main() -> None:
    """Train, measure, print, write."""
    arguments = parser(__doc__, data=True).parse_args()
    torch.set_num_threads(1)
    folder: Path = arguments.data / "FashionMNIST"
    splits = load(f"fashion-mnist={folder}", valid=HELD_OUT)
    rows = [
        each for name, program in programs(splits).items() for b in LOWS for each in rows_of(name, program, b, splits)
    ]
    for each in rows:
        print(each, flush=True)
    checks = [Check(named(each), round(each["bound"] - mean(each["bound, dealt"]), 3), ">=", TARGET) for each in rows]
    settings = {"images": len(splits.test), "held_out": HELD_OUT, "units": UNITS, "gated": GATED, "seeds": SEEDS}
    write("gate", settings=settings, results={"rows": rows}, checks=checks)


if __name__ == "__main__":
    main()
