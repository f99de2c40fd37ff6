"""What ``dqt.doctor`` found: plain records, and the text of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dqt.arith.cost import Cost
from dqt.nn.diagnose import Finding, sentences
from dqt.nn.errors import Obstacle, advice_of, kinds_of
from dqt.nn.summary import Summary
from dqt.program.listing import aligned, written_shape

FRAGILE = 0.25
"""A layer that adds more noise than this part of its own result, at a width, needs more bits there or training."""
GOOD = 0.1
"""Noise in an output, as a part of it, up to which a network serves as it is: 20 dB."""
SHOWN = 5

Errors = Mapping[int, float]
"""Width -> root mean square of the difference from the float model, as a part of the float model's deviation."""


@dataclass(frozen=True)
class LayerFinding:
    """One layer.

    Attributes:
        name: as in the model.   macs, weights: counts.   edge: first or last.
        accumulator_bits: two's complement bits proved to hold every sum, at every width.
        errors: what this layer alone adds where it runs at each width on the float model's values.
    """

    name: str
    macs: int
    weights: int
    edge: bool
    accumulator_bits: int
    errors: Errors


@dataclass(frozen=True)
class OutputFinding:
    """One output of the integer program.

    Attributes:
        name: as in the model.   shape: without the batch.
        integer: ``"int32"`` sums, or ``"codes"`` of the master width.
        errors: of the whole network at each uniform width.
        agreement: part of the samples whose largest score is the float model's; empty of other outputs than scores.
    """

    name: str
    shape: tuple[int, ...]
    integer: str
    errors: Errors
    agreement: Mapping[int, float]


@dataclass(frozen=True)
class Diagnosis:
    """What a model becomes, before any training; ``str`` of it is the report.

    Attributes:
        obstacles: what cannot be integers; where there are any, nothing else is known.
        said: what ``dqt.prepare`` warned of.
        network: what was made.   samples: that errors were measured on.   data: whether they were given.
        layers, outputs: one by one.   costs: by uniform width.
        findings: what calibration found (:mod:`dqt.nn.diagnose`).
    """

    obstacles: tuple[Obstacle, ...] = ()
    said: tuple[str, ...] = ()
    network: Summary | None = None
    samples: int = 0
    data: bool = False
    layers: tuple[LayerFinding, ...] = ()
    outputs: tuple[OutputFinding, ...] = ()
    costs: Mapping[int, Cost] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def goes(self) -> bool:
        """Whether the model becomes an integer program."""
        return not self.obstacles

    @property
    def widths(self) -> tuple[int, ...]:
        """From wide to narrow."""
        return tuple(self.costs)

    def fragile(self, width: int) -> list[LayerFinding]:
        """The layers that lose most at a width, worst first."""
        found = [each for each in self.layers if not each.edge and each.errors[width] > FRAGILE]
        return sorted(found, key=lambda each: -each.errors[width])

    @property
    def lowest_good(self) -> int | None:
        """The lowest width down to which every output is near the float model's; ``None``: not even the widest is."""
        good = None
        for width in self.widths:
            if any(output.errors[width] > GOOD for output in self.outputs):
                break
            good = width
        return good

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do, in order."""
        return tuple(_advice(self))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        made = asdict(self)
        return made | {"goes": self.goes, "lowest_good": self.lowest_good, "advice": list(self.advice)}

    def __str__(self) -> str:
        return "\n".join(_obstacles(self) if self.obstacles else _report(self))


def _obstacles(found: Diagnosis) -> Iterator[str]:
    kinds = kinds_of(found.obstacles)
    others = "; every other operator is supported" if all(each.operator for each in found.obstacles) else ""
    yield f"the model does not go through: {_count(len(kinds), 'obstacle')}{others}"
    yield from (f"- {each}" for each in kinds)
    yield ""
    yield from _text("what to do", found.advice)


def _report(found: Diagnosis) -> Iterator[str]:
    assert found.network is not None
    yield "the model goes through: every operator is supported, and none computes in floats between inputs and outputs"
    yield found.network.head
    yield from (*found.network.inputs, *found.network.outputs)
    yield ""
    yield from _layers(found)
    yield ""
    yield from _outputs(found)
    yield ""
    yield from _text("said by dqt.prepare", found.said)
    yield from _text("findings", sentences(found.findings))
    yield from _text("what to do", found.advice)


def _layers(found: Diagnosis) -> list[str]:
    heads = ("layer", "MACs", "weights", "acc bits", *(f"{b} bits" for b in found.widths))
    rows = [
        (each.name + "*" * each.edge, f"{each.macs:,}", f"{each.weights:,}", str(each.accumulator_bits),
         *(_percent(each.errors.get(b)) for b in found.widths))
        for each in found.layers
    ]  # fmt: skip
    note = (
        "error of each layer alone, as a part of its result; accumulator bits are proved. "
        "* first or last: the edge width under a uniform plan"
    )
    return [*aligned([heads, *rows], 1), note]


def _outputs(found: Diagnosis) -> list[str]:
    heads = ("the whole network", "integers", *(f"{b} bits" for b in found.widths))
    rows: list[Sequence[str]] = [heads]
    for each in found.outputs:
        name = f"{each.name} {written_shape(each.shape)}"
        rows.append((f"{name}: error", each.integer, *(_percent(each.errors[b]) for b in found.widths)))
        if each.agreement:
            rows.append((f"{name}: same class", "", *(_percent(each.agreement[b]) for b in found.widths)))
    rows.append(("BitOPs, of the master", "", *(_percent(cost.share) for cost in found.costs.values())))
    alone = "" if found.data else " of the example alone: pass batches to know it of your data"
    return [*aligned(rows, 2), f"on {_count(found.samples, 'sample')}{alone}"]


def _text(head: str, lines: Sequence[str]) -> list[str]:
    return [f"{head}:", *(f"- {line}" for line in lines)] if lines else []


def _advice(found: Diagnosis) -> Iterator[str]:
    if found.obstacles:
        yield from advice_of(found.obstacles)
        return
    if not found.data:
        yield "pass a few hundred samples of your data: ranges and errors of an example alone say little"
    good = found.lowest_good
    if good is None:
        yield f"{found.widths[0]} bits lose too much: look at the findings, then at the layers with the largest errors"
    else:
        yield f"{good} bits and more serve without training: dqt.calibrate, then dqt.lower"
    lowest = found.widths[-1]
    if good != lowest:
        yield f"for fewer bits train with dqt.fit, or give each layer its own with dqt.search{_worst(found, lowest)}"


def _worst(found: Diagnosis, width: int) -> str:
    fragile = found.fragile(width)
    if not fragile:
        return ""
    names = ", ".join(each.name for each in fragile[:SHOWN])
    more = f" and {len(fragile) - SHOWN} more" if len(fragile) > SHOWN else ""
    return f"; at {width} bits most is lost in {names}{more}"


def _percent(part: float | None) -> str:
    return "" if part is None else f"{100 * part:.3g} %"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
