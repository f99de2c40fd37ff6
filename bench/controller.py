"""A late controller in integers, put behind a finished program: what its choices gain on test images.

A controller with ``rerun=True`` reads how far the other outputs of a 2-bit run lie below the largest; a sample stops,
or runs again at more bits. It learns the losses at every width as ``dqt.fit_controller`` teaches them, becomes
instructions, and these are appended to the program; then the engine runs the 10,000 test images under "auto". It learns
from the 5,000 held-out images, or from one half of the test images, and the other half judges it.

    python -m bench.controller --data DIR                   the network that ships
    python -m bench.controller --data DIR wide=wide.dqt     another program; the record keeps those that are not named
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import dqt
from bench.again import halves
from bench.common import RESULTS, Check, write
from bench.late import DEALS, SEEDS
from bench.named import HELD_OUT, SHIPPED, images_of, named_parser, programs_of, results_in
from bench.robust import CASCADES, Network, Outcome, outcome_of
from dqt.arith.affine import add_constants
from dqt.arith.cost import controller_bitops, full_bitops
from dqt.arith.plan import AUTO
from dqt.nn.controller import HIDDEN
from dqt.nn.controller_alone import controller_parameters
from dqt.nn.net import Net
from dqt.nn.ranges import Signal
from dqt.nn.run import Run, controller_widths
from dqt.nn.set_range import Ranges
from dqt.nn.walk import before_norm, moments
from dqt.program.evaluate import COMPARED, as_defined, evaluate, output_value
from dqt.program.operator import Operator
from dqt.program.ops.add import Add
from dqt.program.ops.choose import Choose
from dqt.program.ops.choose_late import ChooseLate
from dqt.program.ops.dequantize import Dequantize
from dqt.program.ops.top_k import TopK
from dqt.program.program import Program
from dqt.program.task import Task
from dqt.program.values import Value
from dqt.runtime import Runtime
from dqt.train.data import DataSet
from dqt.train.gains import WORST, Gains, learn
from dqt.train.losses import Loss
from dqt.train.models import resnet20, wide_cnn
from dqt.train.recipe import Recipe
from dqt.train.settle import settle

Rows = npt.NDArray[np.int64]
MODELS: dict[str, Callable[[], torch.nn.Module]] = {SHIPPED: resnet20, "wide": wide_cnn}
"""The float model of each program: its layers have the program's names."""
OWN, SAME_STEP = "controller.", ("controller.top", "controller.best", "controller.others")
UNITS, BUDGETS, AT_BITS = 32, (2.5, 3.0, 4.0), 3.0
RECIPE = Recipe(learn="controller", epochs=60, batch_size=512, optimizer="adamw", lr=0.01, weight_decay=0.01)
GAIN, OVER_CASCADE, WITHIN, SMALL = 0.5, 0.1, 0.05, 0.01
"""Points over the same choices dealt, over uniform widths, and over a cascade; how far the BitOPs may
be off those asked for; parameters and BitOPs of the controller over those of the network."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Images at every width of a program: ``codes`` int32 ``[widths, N, classes]``, ``labels`` ``[N]``."""

    codes: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int64]

    def some(self, rows: npt.NDArray[np.int64]) -> Answers:
        """Of some of the images."""
        return Answers(self.codes[:, rows], self.labels[rows])

    @property
    def outcome(self) -> Outcome:
        """What cascades are calibrated and judged on."""
        return outcome_of(self.codes, self.labels)


class Subject:
    """A program, what it costs at each choice, and a network whose controller is taught."""

    def __init__(self, name: str, program: Program) -> None:
        self.name, self.program, self.network = name, program, Network(program)
        self.scale = output_value(program).scale
        self.at = self.places(CASCADES)

    def places(self, choices: Sequence[int]) -> list[int]:
        """Where widths stand among those of the program."""
        return [self.network.widths.index(b) for b in choices]

    def answers(self, data: DataSet) -> Answers:
        """Of a whole set."""
        return Answers(np.stack(self.network.codes(data, data.images)), data.labels.numpy())

    def taught(self, learned: Answers, budget: float, seed: int, choices: tuple[int, ...] = CASCADES) -> Net:
        """A network whose controller learned from ``learned`` and is held to ``budget`` there."""
        torch.manual_seed(seed)
        controller = dqt.Controller(choices=choices, rerun=True, hidden=UNITS)
        config = dqt.Config(widths=self.network.widths, norm="per_width", controller=controller)
        net = dqt.prepare(MODELS[self.name]().eval(), torch.zeros(2, *self.program.input_shape), config)
        recipe = RECIPE.model_copy(update={"bitops": budget, "seed": seed})
        outputs = torch.from_numpy(learned.codes[self.places(choices)] * self.scale).float()
        loss = Loss(net, Task.classification())
        losses = [loss.each(each, torch.from_numpy(learned.labels)).clamp(max=WORST) for each in outputs]
        gains = Gains(begun(net, outputs[0]), torch.stack(losses, 1))
        learn(loss, gains, recipe)
        settle(net, gains.features, recipe)
        return net

    def attached(self, net: Net) -> Program:
        """The program with the controller of ``net`` behind its outputs, whose steps may be of another size there."""
        made, ours = net.program(), output_value(self.program)
        assert made.space.layers == self.program.space.layers, "the model's layers are not the program's"
        theirs = output_value(made).name
        own = {value.name: value for value in made.values if value.name.startswith(OWN)}
        own |= {name: replace(own[name], scale=ours.scale) for name in SAME_STEP}
        (first,) = (i for i, op in enumerate(made.ops) if isinstance(op, TopK))
        (last,) = (i for i, op in enumerate(made.ops) if isinstance(op, ChooseLate))
        ops = [self._here(op, theirs, own["controller.margin"]) for op in made.ops[first : last + 1]]
        kept = [
            op for op in self.program.ops if not isinstance(op, Choose) and not getattr(op, "out", "").startswith(OWN)
        ]
        values = [value for value in self.program.values if not value.name.startswith(OWN)]
        ends = [op for op in kept if isinstance(op, Dequantize)]
        kept = [op for op in kept if not isinstance(op, Dequantize)]
        return replace(self.program, space=made.space, values=(*values, *own.values()), ops=(*kept, *ops, *ends))

    def _here(self, op: Operator, theirs: str, margin: Value) -> Operator:
        ours = output_value(self.program)
        if isinstance(op, TopK):
            assert op.x == theirs
            return replace(op, x=ours.name)
        if isinstance(op, Add):
            constants = add_constants(ours.scale, 0, -ours.scale, 0, margin.scale, 0)
            return replace(op, **vars(constants))
        return op


def begun(net: Net, outputs: Tensor) -> Tensor:
    """What the controller's first layer reads behind ``outputs``, float ``[N, F]``, once its ranges are set by them."""
    ranges, found = Ranges(net, "mse"), Signal(outputs, None)
    values = {net.outputs[0].value: found}
    features = found
    for node in [node for node in net.nodes if node.controller and node.kind != "choose_late"]:
        ins = [values[name] for name in node.ins]
        features = ins[0] if node.layer == HIDDEN else features
        norm = net.norm(node.norm)
        if norm is not None:
            before = moments(before_norm(net, node, ins), 1)
            norm.set_statistics(before.mean, before.variance)
        found = net.fake_node(node, ins, Run(controller_widths(net.space)))
        if node.quantizer in ("relu", "unsigned"):
            ranges.set(node.out, [found.raw.detach().float()])
            found = net.fake_node(node, ins, Run(controller_widths(net.space)))
        values[node.out] = found
    return features.master.detach().float()


def once(
    subject: Subject, data: DataSet, test: Answers, rows: Rows, learned: Answers, budget: float, seed: int
) -> tuple[dict[str, float], Program]:
    """Teach, attach, run the images ``rows`` of ``data`` in integers: in percent, and the program."""
    net = subject.taught(learned, budget, seed)
    program, judge = subject.attached(net), test.some(rows)
    x = data.inputs().numpy()[rows]
    found = evaluate(program, x, AUTO, engine=Runtime(program, threads=1).execute)
    if as_defined(program, x, AUTO, found, COMPARED).equal != COMPARED:
        raise AssertionError(f"{subject.name}: the engine differs from the interpreter")
    chosen = np.searchsorted(CASCADES, found.widths[:, program.layers.index(program.space.chosen[0])])
    right = judge.outcome.right[subject.at].T
    every, rng = np.arange(len(rows)), np.random.default_rng(seed)
    dealt = mean(float(right[every, rng.permutation(chosen)].mean()) for _ in range(DEALS))
    cascade = subject.network.judged(judge.outcome, subject.network.calibrated(learned.outcome, budget))
    uniform = np.interp(found.share, subject.network.shares, judge.outcome.right.mean(1))
    figures = {
        "own": 100 * found.accuracy(judge.labels),
        "dealt": 100 * dealt,
        "uniform": 100 * float(uniform),
        "share": 100 * found.share,
        "runs": 1 + float((chosen > 0).mean()),
        "cascade": cascade["top1"],
        "cascade share": cascade["share"],
        "cascade's uniform": cascade["uniform"],
    }
    return figures, program


def rows_of(subject: Subject, test: DataSet, tested: Answers, held: Answers, bits: float) -> Iterator[dict[str, Any]]:
    """One budget, both ways to learn: a list over the seeds for each figure."""
    budget, every = subject.network.budget(bits), np.arange(len(test))
    for learned in ("held-out images", "half of the test images"):
        found = []
        for seed in SEEDS:
            parts = [(every, held)]
            if learned != "held-out images":
                parts = [(judge, tested.some(learn_from)) for learn_from, judge in halves(len(test), seed)]
            both = [once(subject, test, tested, rows, answers, budget, seed)[0] for rows, answers in parts]
            found.append({key: round(mean(each[key] for each in both), 4) for key in both[0]})
            print(f"{subject.name}, {bits:g} bits, {learned}, seed {seed}: {found[-1]}", flush=True)
        yield {
            "bits": bits,
            "learned": learned,
            "budget": round(100 * budget, 3),
            **{key: [each[key] for each in found] for key in found[0]},
        }


def measured(subject: Subject, test: DataSet, held_out: DataSet, budgets: Sequence[float]) -> dict[str, Any]:
    """All that is said of one program."""
    tested, held = subject.answers(test), subject.answers(held_out)
    rows = [row for bits in budgets for row in rows_of(subject, test, tested, held, bits)]
    net = subject.taught(held, subject.network.budget(AT_BITS), 0)
    return {
        "choices": CASCADES,
        "top1": tested.outcome.top1,
        "top1, held-out": held.outcome.top1,
        "oracle": tested.outcome.oracle,
        "parameters": sum(p.numel() for p in controller_parameters(net)),
        "weights": sum(layer.weights for layer in net.space.layers),
        "bitops": round(controller_bitops(net.space) / full_bitops(net.space), 6),
        "rows": rows,
    }


def checks(results: dict[str, Any]) -> Iterator[Check]:
    """Every program beside its targets."""
    for name, found in results.items():
        yield Check(f"{name}: the controller's parameters, of the weights", _part(found), "<=", SMALL)
        yield Check(f"{name}: the controller's BitOPs, of those of 8 bits", found["bitops"], "<=", SMALL)
        for row in (row for row in found["rows"] if row["bits"] == AT_BITS):
            what, own = f"{name}, taught by {row['learned']}", mean(row["own"])
            over = {key: round(own - mean(row[key]), 3) for key in ("dealt", "uniform", "cascade")}
            yield Check(f"{what}: points over the same choices dealt", over["dealt"], ">=", GAIN)
            yield Check(f"{what}: points over uniform widths", over["uniform"], ">=", GAIN)
            yield Check(f"{what}: points over the cascade", over["cascade"], ">=", OVER_CASCADE)
            off = abs(mean(row["share"]) / row["budget"] - 1)
            yield Check(f"{what}: BitOPs off those asked for by", round(off, 4), "<=", WITHIN)


def _part(found: dict[str, Any]) -> float:
    return round(found["parameters"] / found["weights"], 5)


def main() -> None:
    """Measure what is named, print, write; the record keeps the others."""
    options = named_parser(__doc__)
    words = "budgets: the BitOPs of uniform widths, a fraction of a bit included"
    options.add_argument("--bits", nargs="+", type=float, default=BUDGETS, metavar="BITS", help=words)
    arguments = options.parse_args()
    splits, held_out = images_of(arguments)
    results = results_in(RESULTS / "controller.json")
    for name, program in programs_of(arguments):
        results[name] = measured(Subject(name, program), splits.test, held_out, arguments.bits)
    settings = {"seeds": SEEDS, "images": len(splits.test), "held_out": HELD_OUT, "units": UNITS}
    settings["recipe"] = RECIPE.model_dump(include={"epochs", "batch_size", "optimizer", "lr", "weight_decay"})
    write("controller", settings=settings, results=results, checks=list(checks(results)))


if __name__ == "__main__":
    main()
