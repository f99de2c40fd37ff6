"""``dqt doctor``: what a model becomes, what it loses and where, before any training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dqt.cli.errors import INPUT
from dqt.cli.output import DataRoot, Json, emit


def doctor(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="package.module:name or file.py:name, a model or what makes one; an exported program (.pt2); a run "
            "file, or the name of one that ships; a checkpoint or the folder of its run.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Such as digits, npz=FILE or imagefolder=PATH; of a run, its own."),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            metavar="SHAPE",
            help="Of one sample, such as 3x224x224, where there is no data; of integers below 30522: 128:30522; "
            "of one integer a sample: :1000. Once for each input.",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="A .safetensors file of the model's state dict.")
    ] = None,
    widths: Annotated[str | None, typer.Option("--widths", help="Default: 2,3,4,5,6,7,8.")] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many samples of the data to look at.")] = 256,
    data_root: DataRoot = None,
    as_json: Json = False,
) -> None:
    """Which operators are supported, what each layer and each output loses at each width, and what to do.

    Nothing is trained and nothing is written. Without data, ranges and errors are those of random numbers. The exit
    code is 1 where the model cannot become integers; everything that stands in the way is named.
    """
    import dqt
    from dqt.cli.models import Asked, patient_of

    found = patient_of(Asked(model, data, tuple(shape or ()), weights, widths, samples, data_root))
    report = dqt.doctor(
        found.model, found.example, found.batches, found.config, progress=not as_json and sys.stdout.isatty()
    )
    emit(report.as_dict(), as_json, lambda: typer.echo(str(report)))
    if not report.goes:
        raise typer.Exit(INPUT)
