"""The recorded results of a run: the schema of ``results.json``, checked when it is read.

Fractions are in [0, 1]; widths are bits; ``bitops`` is the mean over samples where the widths depend on the input,
and counts everything that ran (the controller, every pass of a cascade).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from dqt.arith.files import write_file
from dqt.report.records import (
    TOP1,
    Auto,
    Bits,
    Count,
    EngineName,
    Fraction,
    LayerRecord,
    MeanBits,
    Metric,
    Record,
    Served,
    Time,
)

FILE = "results.json"
VERSION = 1
MOST = 1e30
"""Beyond any network, and small enough to draw."""

Kind = Literal["uniform", "plan", "auto", "cascade", "random"]


class ResultsError(ValueError):
    """A results file that cannot be read; the message names the file, the place in it and what is wrong."""


class Row(Record):
    """One way to run the network.

    Attributes:
        label: what to call it; no two rows share one.
        kind: ``uniform`` widths, a static ``plan``, the controller's choice ``auto``, a ``cascade``, or a ``random``
            choice by sample with the same mean cost, for comparison.
        bits: the width, for a uniform row.
        widths: layer name -> (weight width, activation width), the mean over samples where they differ; every layer
            or none.
        accuracy_trained: top-1 of the network as it was trained, in torch; None if it was not measured.
        accuracy_integer: top-1 of the integer program.
        metric_trained, metric_integer: the same by the metric of another task, in place of them.
        agreement: share of samples (or positions) on which the two give the same answer.
        bitops: per sample.
        share: ``bitops`` as a share of the BitOPs with every layer at the master width.
        served: whether the engine gave the integers of the interpreter; None if that was not compared.
        time: of one sample, if it was measured.
    """

    label: Annotated[str, Field(min_length=1)]
    kind: Kind
    bits: Bits | None = None
    widths: dict[str, tuple[MeanBits, MeanBits]] = Field(default_factory=dict)
    accuracy_trained: Fraction | None = None
    accuracy_integer: Fraction | None = None
    metric_trained: float | None = None
    metric_integer: float | None = None
    agreement: Fraction | None = None
    bitops: Annotated[float, Field(ge=0, le=MOST)]
    share: Annotated[float, Field(gt=0, le=MOST)]
    served: Served | None = None
    time: Time | None = None

    @property
    def score(self) -> float:
        """The metric of the integer program."""
        found = self.accuracy_integer if self.metric_integer is None else self.metric_integer
        assert found is not None  # checked when it was read
        return found

    @property
    def trained(self) -> float | None:
        """The metric of the network as it was trained."""
        return self.accuracy_trained if self.metric_integer is None else self.metric_trained

    @model_validator(mode="after")
    def _is_judged_once(self) -> Self:
        if (self.accuracy_integer is None) == (self.metric_integer is None):
            raise ValueError('a row needs "accuracy_integer", or "metric_integer" where the results name a metric')
        return self

    @property
    def differs(self) -> bool:
        """Whether the engine gave other integers than the interpreter defines, on any sample that was compared."""
        return self.served is not None and self.served.equal < self.served.samples

    @model_validator(mode="after")
    def _uniform_has_bits(self) -> Self:
        if self.kind == "uniform" and self.bits is None:
            raise ValueError('a row of kind "uniform" needs "bits"')
        return self


class Results(Record):
    """Everything that a report shows.

    Attributes:
        version: of this schema.
        name: of the run.   data: the test set, in words.   samples: how many it has.
        model_bytes: size of the ``.dqt`` file, one for every row.
        master: the master width.
        engine: what ran the program; None in files that do not say it.
        metric: what the rows are judged by; None: top-1.
        timing: how times were measured, in words.
        layers: in execution order.   rows: at least one.   auto: if the network has a controller.
    """

    version: int = VERSION
    name: str
    data: str
    samples: Annotated[int, Field(ge=1)]
    model_bytes: Count
    master: Bits = 8
    engine: EngineName | None = None
    metric: Metric | None = None
    timing: str | None = None
    layers: Annotated[tuple[LayerRecord, ...], Field(min_length=1)]
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    auto: Auto | None = None

    @field_validator("version")
    @classmethod
    def _is_read(cls, version: int) -> int:
        if version != VERSION:
            raise ValueError(f"{version}; this release reads version {VERSION}: run dqt eval --out again")
        return version

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [layer.name for layer in self.layers]
        _distinct("layers", names)
        _distinct("rows", [row.label for row in self.rows])
        for row in self.rows:
            if row.widths and set(row.widths) != set(names):
                raise ValueError(f"row {row.label!r}: widths must name every layer, and no other")
            if (row.metric_integer is None) != (self.metric is None):
                raise ValueError(f"row {row.label!r}: metric_integer goes with a metric that the results name")
        if self.auto is not None:
            self._check_auto(self.auto, names)
        return self

    @property
    def judged_by(self) -> Metric:
        """The metric of the rows."""
        return self.metric or TOP1

    @property
    def best(self) -> tuple[Row, ...]:
        """The rows on the frontier, see :func:`frontier`."""
        return frontier(self.rows, higher=self.judged_by.higher)

    def _check_auto(self, auto: Auto, names: list[str]) -> None:
        unknown = set(auto.histogram) - set(names)
        if unknown:
            raise ValueError(f"auto.histogram names {sorted(unknown)[0]!r}, which is not a layer")
        for layer, counts in auto.histogram.items():
            if sum(counts.values()) == 0:
                raise ValueError(f"auto.histogram of {layer!r} counts no sample")
        for index, sample in enumerate(auto.samples):
            if len(sample.widths) != len(names):
                raise ValueError(f"auto.samples.{index}: {len(sample.widths)} widths for {len(names)} layers")
        for index, digits in enumerate(auto.by_sample):
            if len(digits) != len(names):
                raise ValueError(f"auto.by_sample.{index}: {len(digits)} widths for {len(names)} layers")


def load_results(path: str | os.PathLike[str]) -> Results:
    """Read a run folder's ``results.json``, or the file itself.

    Raises:
        ResultsError: there is none, or it is not one; says where in the file and what is wrong.
    """
    file = Path(path)
    if file.is_dir():
        file = file / FILE
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ResultsError(
            f"{file}: {error.strerror or error}: a run folder holds a {FILE}, which dqt eval --out writes"
        ) from None
    try:
        return Results.model_validate_json(text)
    except ValidationError as error:
        raise ResultsError(f"{file}: {_first(error)}") from None


def save_results(results: Results, path: str | os.PathLike[str]) -> Path:
    """Write ``results.json`` into the folder ``path``, or to the file ``path``; gives the file's path.

    Raises:
        OSError: it cannot be written, see :func:`dqt.arith.files.write_file`.
    """
    file = Path(path)
    if file.is_dir():
        file = file / FILE
    write_file(file, results.model_dump_json(indent=1, exclude_none=True), "\n")
    return file


def frontier(rows: Iterable[Row], *, higher: bool = True) -> tuple[Row, ...]:
    """The rows that no other beats: by rising BitOPs, each better than every cheaper one (Pareto).

    ``higher``: whether a larger metric is better.
    """
    sign = 1 if higher else -1
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.bitops, -sign * row.score)):
        if not best or sign * row.score > sign * best[-1].score:
            best.append(row)
    return tuple(best)


def mean_width(counts: dict[int, int]) -> float:
    """Mean of a histogram width -> count."""
    return sum(width * count for width, count in counts.items()) / sum(counts.values())


def _distinct(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what} are called {name!r}")


def _first(error: ValidationError) -> str:
    """The first of pydantic's complaints, in one line, with its place in the file."""
    first: Any = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("list[", "function-")))
    message = str(first["msg"]).removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {message}{more}" if place else f"{message}{more}"
